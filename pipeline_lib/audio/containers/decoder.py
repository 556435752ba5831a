"""libsndfile on a span of a file."""

import os

import soundfile

from pipeline_lib.audio.containers.span import Span


class Decoder(soundfile.SoundFile):
    """A file read from front to back; soundfile seeks after each read otherwise, which is inexact in MP3."""

    def seekable(self) -> bool:
        """Return False, so that soundfile does not seek."""
        return False


def decoder(span: Span, by_position: bool = False) -> Decoder:
    """Return a decoder of a span: of the file itself where the span is all of it.

    Args:
        span: the bytes that it reads
        by_position: leave the open file's own position alone, which forked processes share
    """
    if span.is_whole_file and not by_position:
        os.lseek(span.fd, 0, os.SEEK_SET)
        return Decoder(span.fd, closefd=False)
    span.seek(0)
    return Decoder(span)


def message(error: Exception) -> str:
    """Return libsndfile's message without the file's number, which differs from run to run."""
    return " ".join(getattr(error, "error_string", str(error)).split()) or type(error).__name__
