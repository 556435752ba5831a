"""MP3, and MPEG audio of all layers: frames, each of which begins where the last ends.

The frames are counted. Where an encoder declared their number (a Xing or Info tag; LAME and FFmpeg add a CRC-16 of all
of them) it is compared; where none did, the count is the length: a decoder's own is an estimate from the bytes. ID3,
APE and Lyrics3 tags are passed over wherever they stand. Streams joined one behind the other are decoded one by
one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline_lib.audio.containers import mp3_frame
from pipeline_lib.audio.containers.crc16 import crc16
from pipeline_lib.audio.containers.layout import Layout
from pipeline_lib.audio.containers.mp3_frame import Form
from pipeline_lib.audio.containers.span import MOST_SOUNDS, Defect, Sound, Span, check_number
from pipeline_lib.audio.containers.tags import behind_tags, only_zeros

LARGEST = 1 << 30  # bytes: at 512 kbit/s more than four hours
_JUNK = 8_192  # bytes that may stand before the first frame: the end of a frame where a recorder came in
_SURE = 4  # frames of one form in a row that are no coincidence
_AT_ONCE = 1 << 20  # bytes
_ENCODERS = (b"LAME", b"Lavc", b"Lavf")
_OF_FFMPEG = 190  # bytes: position of the checksum of a LAME tag in MPEG-1 with two channels
_MARKS = (*_ENCODERS, b"Xing", b"Info", b"VBRI")


@dataclass
class _Stream:
    """Frames of one form.

    ``begin`` is where its first frame stands, ``sound`` the first with sound, ``end`` one behind the last.
    """

    form: Form
    begin: int
    sound: int
    end: int
    n_frames: int = 0
    tag: dict[str, int] = field(default_factory=dict)
    free_bytes: int = 0


def is_mpeg(span: Span) -> bool:
    """Return whether a few frames of one form begin in the first bytes."""
    return _start(span) is not None


def mpeg(span: Span) -> Layout:
    """Return the layout of MPEG audio, its frames counted.

    Raises:
        Defect: they do not follow each other, are not as many as declared, or change their form on the way
    """
    if span.size > LARGEST:
        raise Defect("too long", f"holds {span.size} bytes, expected at most {LARGEST} of a compressed recording")
    streams = []
    for stream in _streams(span):
        _check_count(stream)
        if stream.n_frames:
            streams.append(stream)
        check_number(len(streams), "streams", MOST_SOUNDS)
    if not streams:
        raise Defect("truncated", f"holds {span.size} bytes and no frame with sound (an interrupted copy?)")
    for stream in streams:
        if stream.form[:4] != streams[0].form[:4]:
            raise Defect(
                "not supported", f"changes from {streams[0].form} to {stream.form} at byte {stream.begin}, as no"
                " recording does (two files joined? decode and join them anew)",
            )  # fmt: skip
    return Layout("MP3", tuple(_sound(span, stream) for stream in streams), None, lambda: _check_crcs(span, streams))


def _sound(span: Span, stream: _Stream) -> Sound:
    if stream.tag.get("frames") == stream.n_frames:  # the decoder reads the tag, and what to leave out at both ends
        return Sound(span.part(stream.begin, stream.end))
    n_samples = stream.n_frames * stream.form.n_samples
    return Sound(span.part(stream.sound, stream.end, inflated=True), n_samples)


def _streams(span: Span) -> Iterator[_Stream]:
    """Yield the streams, one behind the other."""
    position = _start(span)
    if position is None:
        raise Defect("damaged", "begins like MPEG audio and has no frames that follow each other (a damaged header?)")
    while position is not None:
        stream = _begin(span, position)
        while stream.end < span.size:
            start = span.at(stream.end, 40)  # the marks of all tags stand in these bytes
            head = start[:4]
            if mp3_frame.form(head) != stream.form or _mark(start, stream.form):
                break
            length = mp3_frame.n_bytes(head, stream.form, stream.free_bytes)
            if stream.end + length > span.size:
                raise Defect("truncated", f"holds {span.size} bytes, its last frame needs {stream.end + length}")
            stream.end += length
            stream.n_frames += 1
        yield stream
        position = _next(span, stream)


def _begin(span: Span, position: int) -> _Stream:
    """Return the stream that begins with the frame at ``position``, which carries a tag or counts as sound later."""
    head = span.at(position, 4)
    form = mp3_frame.form(head)
    assert form is not None, "a frame was seen here"  # noqa: S101
    free_bytes = _free_bytes(span, position, form) if form.free else 0
    tag = _tag(span, position, head, form, free_bytes)
    if tag is None:
        tag = {"whole": 0} if _is_tag_broken(span, position, head, form) else {}
        return _Stream(form, position, position, position, tag=tag, free_bytes=free_bytes)
    end = position + mp3_frame.n_bytes(head, form, free_bytes)
    if end > span.size:
        raise Defect("truncated", f"holds {span.size} bytes, its first frame needs {end} (an interrupted copy?)")
    return _Stream(form, position, end, end, tag=tag, free_bytes=free_bytes)


def _next(span: Span, stream: _Stream) -> int | None:
    """Return the position of another stream behind this one, None at the end.

    Raises:
        Defect: what follows is neither a stream nor a tag nor zeros
    """
    position = behind_tags(span, stream.end)
    if position >= span.size:
        return None
    if _follow(span, position, _SURE):
        return position
    complete = stream.tag.get("frames") == stream.n_frames
    another = _first(span, position + 1)
    if another is None and (complete or span.size - position < 4):
        return None
    if another is None and only_zeros(span, position):
        if (span.size - position) * max(1, stream.n_frames) <= stream.end - stream.sound:  # no more than a frame
            return None
        raise Defect("truncated", f"holds nothing but zeros from byte {position} on (an interrupted download?)")
    text = f"has no frame at byte {position}, where the last one ends, or one of another rate"
    raise Defect("damaged", text)


def _first(span: Span, position: int) -> int | None:
    """Return the position of frames that follow each other, at ``position`` or some kilobytes behind it."""
    window = span.at(position, _JUNK)
    offset = window.find(b"\xff")
    while offset >= 0:
        form = mp3_frame.form(window[offset : offset + 4])
        if form is not None and not (form.free and offset) and _follow(span, position + offset, _SURE):
            return position + offset
        offset = window.find(b"\xff", offset + 1)
    return None


def _start(span: Span) -> int | None:
    """Return the position of the first frame: behind tags, zeros, or the rest of a frame that a recorder cut."""
    begin = behind_tags(span, 0)
    position = _first(span, begin)
    if position is None:
        return None
    junk, head = span.at(begin, position - begin), span.at(position, 4)
    form = mp3_frame.form(head)
    assert form is not None, "frames were seen here"  # noqa: S101
    if not junk.strip(b"\0") and (begin or not junk or _mark(span.at(position, 40), form)):
        return position  # padding; without a tag in front or behind it, zeros may be frames that a disk lost
    is_rest = not form.free and len(junk) < mp3_frame.n_bytes(head, form, 0)
    return position if is_rest and not any(mark in junk for mark in _MARKS) else None


def _follow(span: Span, position: int, n_frames: int) -> bool:
    """Return whether frames of one form follow each other from here, ``n_frames`` or up to the end."""
    form = mp3_frame.form(span.at(position, 4))
    if form is None:
        return False
    free_bytes = _free_bytes(span, position, form) if form.free else 0
    if form.free and not free_bytes:
        return False
    for n in range(n_frames):
        head = span.at(position, 4)
        if mp3_frame.form(head) != form:
            return n > 0 and behind_tags(span, position) > position
        position += mp3_frame.n_bytes(head, form, free_bytes)
        if position >= span.size:
            return n > 0 or position == span.size
    return True


def _free_bytes(span: Span, position: int, form: Form) -> int:
    """Return the length of a frame of free format without padding, 0 where no other follows.

    The decoder takes the first header of the same form for the next frame's, too.
    """
    slot = 4 if form.layer == 1 else 1
    data = span.at(position, mp3_frame.LARGEST_FREE)
    offset = data.find(b"\xff", 4)
    while offset >= 0 and mp3_frame.form(data[offset : offset + 4]) != form:
        offset = data.find(b"\xff", offset + 1)
    length = offset - slot * (data[2] >> 1 & 1)
    return length if length >= 6 + form.side_bytes and length % slot == 0 else 0


def _tag(span: Span, position: int, head: bytes, form: Form, free_bytes: int) -> dict[str, int] | None:
    """Return the declaration that a frame without sound makes of the others; None where it is a frame of sound.

    ``frames``: their number; ``total``: bytes with its own; ``whole``: whether it matches its own checksum; ``bytes``
    and ``crc`` of the others.
    """
    own = 4 + form.side_bytes
    match _mark(span.at(position, 40), form):
        case b"VBRI":
            return {"whole": 1, "vbri": int.from_bytes(span.at(position + 36 + 14, 4), "big")}
        case b"Xing" | b"Info":
            return _xing(span.at(position, mp3_frame.n_bytes(head, form, free_bytes)), own)
    return None


def _mark(start: bytes, form: Form) -> bytes:
    """Return the name of the tag that a frame carries instead of sound, from its first 40 bytes; or nothing."""
    if form.layer != 3:
        return b""
    if start[36:40] == b"VBRI":
        return b"VBRI"
    mark = start[4 + form.side_bytes :][:4]
    return mark if mark in (b"Xing", b"Info") else b""


def _is_tag_broken(span: Span, position: int, head: bytes, form: Form) -> bool:
    """Return whether a file's first frame carried a tag whose mark is lost; its content would be played as sound."""
    if form.layer != 3 or form.free:
        return False
    frame = span.at(position, mp3_frame.n_bytes(head, form, 0))
    own = 4 + form.side_bytes
    encoder = frame[own + 120 : own + 124] in _ENCODERS  # where its name stands when all of the tag is there
    return encoder or (not any(frame[4:own]) and b"LAME" in frame[own:])


def _xing(frame: bytes, own: int) -> dict[str, int]:
    tag = frame[own:]
    flags = int.from_bytes(tag[4:8], "big")
    values = {"whole": 1} | ({"frames": int.from_bytes(tag[8:12], "big")} if flags & 1 else {})
    if flags & 2:
        values["total"] = int.from_bytes(tag[12:16] if flags & 1 else tag[8:12], "big")
    lame = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    extension = tag[lame : lame + 36]
    if len(extension) == 36 and any(extension[34:36]):
        position = own + lame + 34
        # FFmpeg takes the first 190 bytes whatever the form, the checksum's own bytes still zero in them
        by_ffmpeg = (frame[:position] + bytes(2) + frame[position + 2 :]).ljust(_OF_FFMPEG, b"\0")[:_OF_FFMPEG]
        values["whole"] = int(
            int.from_bytes(extension[34:36], "big") in (crc16([frame[:position]]), crc16([by_ffmpeg]))
        )
        values["bytes"] = int.from_bytes(extension[28:32], "big") - len(frame)
        values["crc"] = int.from_bytes(extension[32:34], "big")
    return values


def _check_count(stream: _Stream) -> None:
    if not stream.tag.get("whole", 1):
        raise Defect("damaged", "has a first frame that does not match its checksum")
    declared = stream.tag.get("frames", stream.tag.get("vbri", stream.n_frames))
    counts_itself = declared == stream.n_frames + 1 and "crc" not in stream.tag and _is_complete(stream)
    if declared != stream.n_frames and not counts_itself:
        reason = "truncated" if stream.n_frames < declared else "damaged"
        raise Defect(reason, f"holds {stream.n_frames} frames, declares {declared}")


def _is_complete(stream: _Stream) -> bool:
    """Return whether all bytes are there that a tag declares; true where it declares none."""
    return stream.tag.get("total", 0) <= stream.end - stream.begin


def _check_crcs(span: Span, streams: list[_Stream]) -> None:
    for stream in streams:
        counted = stream.tag.get("bytes", 0)
        if stream.end - stream.sound >= counted > 0:
            ends = range(stream.sound, stream.sound + counted, _AT_ONCE)
            parts = (span.at(position, min(_AT_ONCE, stream.sound + counted - position)) for position in ends)
            if crc16(parts) != stream.tag["crc"]:
                raise Defect("damaged", "has frames that do not match its checksum")
