"""What is embedded: recordings or texts, how long each is, and what makes them the same as last time."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pipeline_lib import audio
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.tables.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """The inputs of every row; a model is no part of it, so that it can be sent to a worker.

    Attributes:
        inputs: files of recordings, or texts
        lengths: by which rows are sorted, seconds or tokens
        frames: estimated hidden states of each row
        content: what a change of the input changes
    """

    inputs: list[Path] | list[str]
    lengths: list[float]
    frames: list[int]
    content: list[Any]

    def prepare(self, rows: list[int], encoder: SpeechEncoder | TextEncoder) -> dict[str, Tensor]:
        """Return the encoder's inputs for some rows, on the CPU.

        What is shorter than the encoder's first frame is filled with zeros behind it.
        """
        if isinstance(encoder, TextEncoder):
            return encoder.prepare([self.inputs[row] for row in rows])
        waveforms = [audio.decode(Path(self.inputs[row])) for row in rows]
        return encoder.prepare([_filled(each, encoder.minimum_samples) for each in waveforms])


def recordings(manifest: Manifest, root: Path, encoder: SpeechEncoder) -> Source:
    """Return the corpus's audio.

    Raises:
        InputError: an utterance has no audio
    """
    files = manifest.frame["audio"].tolist()
    without = [each for each, file in zip(manifest.ids, files, strict=True) if file is None]
    if without:
        known = f"{len(without)} of {len(files)} utterances of {manifest.corpus} have no audio, {without[0]!r} first"
        raise InputError(f"{known}; an embedding with modality 'audio' needs it")
    paths = [audio.resolve_under(root, file) for file in files]

    seconds = [float(each) for each in manifest.frame["duration_s"]]
    frames = [int(np.ceil(each * encoder.frame_rate_hz)) for each in seconds]
    return Source(paths, seconds, frames, manifest.frame["audio_sha256"].tolist())


def written(texts: Sequence[str], encoder: TextEncoder) -> Source:
    """Return texts, one a row; texts that the encoder cuts are counted on the terminal."""
    tokens = [int(encoder.prepare([text])["attention_mask"].sum()) for text in texts]
    _say_cut(tokens, encoder.prepare.longest)
    return Source(list(texts), tokens, tokens, list(texts))


def reference_texts(manifest: Manifest) -> list[str]:
    """Return the corpus's human texts.

    Raises:
        InputError: an utterance has none
    """
    texts = manifest.frame["reference_text"].tolist()
    without = [each for each, text in zip(manifest.ids, texts, strict=True) if text is None]
    if without:
        known = (
            f"{len(without)} of {len(texts)} utterances of {manifest.corpus} have no human text, {without[0]!r} first"
        )
        raise InputError(f"{known}; set text to 'transcripts'")
    return texts


def _filled(waveform: np.ndarray, needed: int) -> np.ndarray:
    return np.pad(waveform, (0, max(0, needed - len(waveform))))


def _say_cut(tokens: Sequence[int], longest: int) -> None:
    cut = sum(n >= longest for n in tokens)
    if cut:
        known = f"{cut} of {len(tokens)} texts reach the {longest} tokens that the encoder takes"
        print(f"warning: {known}; what is behind is left out", file=sys.stderr)
