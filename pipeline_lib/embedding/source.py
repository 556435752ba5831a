"""Inputs of an embedding: a reader of one modality, the length of each row, and the content that identifies it.

An utterance without the modality is left out of the table; row numbers of ``Source`` count the others.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pipeline_lib.encoders.speech import SAMPLE_RATE, SpeechEncoder
from pipeline_lib.encoders.text import Text, TextEncoder, own_lengths
from pipeline_lib.errors import InputError
from pipeline_lib.experts.readers import Reader
from pipeline_lib.experts.utterances import Source as Corpus
from pipeline_lib.experts.utterances import recordings
from pipeline_lib.tables.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """The inputs of every embedded row; a model is no part of it, so that it can be sent to a worker.

    Attributes:
        read: reader of the rows
        lengths: seconds or tokens, by which batches are of like length
        frames: estimated number of hidden states of each row
        content: identifies the input, part of the fingerprint
    """

    read: Reader
    lengths: Sequence[float]
    frames: Sequence[int]
    content: list[Any]

    def prepare(self, rows: list[int], encoder: SpeechEncoder | TextEncoder) -> dict[str, Tensor]:
        """Return the encoder's inputs for some rows, on the CPU.

        What is shorter than the encoder's first frame is filled with zeros behind it.

        Args:
            rows: numbers of the rows
            encoder: whose inputs they are

        Returns:
            tensors by name, the first axis of each of shape ``(len(rows), ...)``
        """
        return encoder.prepare([self.read(row, 0.0, None) for row in rows])


def from_recordings(manifest: Manifest, root: Path, encoder: SpeechEncoder) -> Source:
    """Return the corpus's audio, every utterance of which has some; what is too short is counted on the terminal.

    Args:
        manifest: the utterances to embed
        root: folder that the manifest's audio paths start from
        encoder: gives the frame rate, None where a recording is one vector, and the shortest waveform
    """
    read = recordings(Corpus(manifest, root)).fitted(encoder)
    seconds = read.lengths.tolist()
    rate = encoder.frame_rate_hz
    frames = [1 if rate is None else int(np.ceil(duration * rate)) for duration in seconds]
    short = np.flatnonzero(np.array(seconds) * SAMPLE_RATE < encoder.minimum_samples)
    if len(short):
        print(
            f"{len(short)} of {len(seconds)} recordings of {manifest.corpus} are shorter than the"
            f" {encoder.minimum_samples / SAMPLE_RATE:g} s that the encoder needs, {manifest.ids[short[0]]!r} first:"
            " filled up with zeros"
        )
    return Source(read.without_cache(), seconds, frames, list(read.content))


def from_texts(texts: Iterable[Text], encoder: TextEncoder) -> Source:
    """Return texts, one a row; texts that the encoder truncates are counted on the terminal.

    Args:
        texts: of the rows to embed, may be empty ones; with a context tuples of the previous turns and the own text
        encoder: gives the tokens of each text
    """
    texts = list(texts)
    prepared = (encoder.prepare([text]) for text in texts)
    counts = [(int(inputs["attention_mask"].sum()), int(own_lengths(inputs).sum())) for inputs in prepared]
    tokens, frames = [of_all for of_all, _ in counts], [of_own for _, of_own in counts]
    _warn_truncated(tokens, encoder.prepare.longest)
    return Source(Reader(texts, np.array(tokens)), tokens, frames, [_content(text) for text in texts])


def present(manifest: Manifest, texts: Sequence[Text | None] | None) -> np.ndarray:
    """Return which utterances have the modality, bool, shape ``(n,)``, and print how many do not.

    Args:
        manifest: all utterances
        texts: one a row, None for audio

    Raises:
        InputError: none has any
    """
    what, key = ("audio", "modality 'audio'") if texts is None else ("reference text", "text 'reference'")
    has = manifest.has_audio if texts is None else np.array([text is not None for text in texts], dtype=bool)
    without = manifest.ids[~has]
    if not has.any():
        raise InputError(f"none of the {len(has)} utterances of {manifest.corpus} has {what}, which {key} embeds")
    if len(without):
        missing = f"{len(without)} of {len(has)} utterances of {manifest.corpus} have no {what}, {without[0]!r} first"
        print(f"{missing}: they are left out of the embedding")
    return has


def _content(text: Text) -> str | list[str]:
    """Return what identifies a text, as JSON holds it: an own text alone is another input than one behind no turn."""
    return text if isinstance(text, str) else list(text)


def _warn_truncated(tokens: Sequence[int], longest: int) -> None:
    n_truncated = sum(n >= longest for n in tokens)
    if n_truncated:
        message = f"{n_truncated} of {len(tokens)} texts reach the {longest} tokens that the encoder takes"
        print(f"warning: {message}; the rest of them is left out", file=sys.stderr)
