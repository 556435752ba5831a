"""Tags of players around a stream of frames, and zeros that fill a file up."""

from pipeline_lib.audio.containers.span import Span, behind_id3

_AT_ONCE = 1 << 20  # bytes


def behind_tags(span: Span, position: int) -> int:
    """Return the end of the tags that begin at a position.

    Args:
        span: the file
        position: bytes; returned where no tag begins there
    """
    while position < span.size:
        head = span.at(position, 32)
        length = behind_id3(head[:10])
        if head.startswith(b"TAG+"):
            length = 227
        elif head.startswith(b"TAG"):
            length = 128
        elif head.startswith(b"APETAGEX"):
            has_header = int.from_bytes(head[20:24], "little") >> 29 & 1
            length = int.from_bytes(head[12:16], "little") + 32 * has_header if has_header else 32
        elif head.startswith(b"LYRICSBEGIN"):
            data = span.at(position, 1 << 20)
            ends = [data.find(mark) + 9 for mark in (b"LYRICS200", b"LYRICSEND") if data.find(mark) >= 0]
            length = min(ends) if ends else 0
        elif head[:3] == b"3DI":
            length = 10
        if not length and _is_ape(span, position):
            return span.size
        if not length:
            return position
        position = min(span.size, position + length)
    return position


def _is_ape(span: Span, position: int) -> bool:
    """Return whether an APE tag without a header reaches from here to the end, or to an ID3v1 tag."""
    for behind in (0, 128):
        footer = span.at(max(0, span.size - behind - 32), 32)
        if footer.startswith(b"APETAGEX"):
            return int.from_bytes(footer[12:16], "little") == span.size - behind - position
    return False


def only_zeros(span: Span, position: int) -> bool:
    """Return whether nothing but zeros, or zeros and tags, is left.

    Args:
        span: the file
        position: bytes
    """
    while position < span.size:
        data = span.at(position, _AT_ONCE)
        left = data.lstrip(b"\0")
        if left:
            position += len(data) - len(left)
            return behind_tags(span, position) >= span.size
        position += len(data)
    return True
