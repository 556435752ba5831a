"""Altered copies of recordings, one file an utterance, with the manifest that names them.

A copy is a WAV file of 32-bit floats, one channel at 16 kHz, of the utterance's part of its recording; its bytes follow
from the seed, the utterance, the condition, the level and the recordings that are drawn from. Where samples would stand
beyond full scale, which decoding cuts off, the whole copy is made quieter, so that nothing but the condition clips.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

from pipeline_lib.audio.decoding import SAMPLE_RATE, SILENCE, BadAudio
from pipeline_lib.robustness.conditions import Sources, Unaltered, altered, generator
from pipeline_lib.robustness.levels import Level
from pipeline_lib.storage import atomic
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest, keep

BYTES_A_SECOND = 4 * SAMPLE_RATE  # of a copy


@dataclass(frozen=True)
class Copies:
    """The copies of one level.

    Attributes:
        manifest: the utterances that have a copy; ``audio`` is a name in the folder
        losses: reason to the utterances without a copy, by identifier
        quieter: number of copies that were made quieter to stay within full scale
    """

    manifest: Manifest
    losses: dict[str, list[str]] = field(default_factory=dict)
    quieter: int = 0


def write_copies(
    manifest: Manifest,
    root: Path,
    level: Level,
    sources: Sources,
    seed: int,
    folder: Path,
    advance: Callable[[int], None] = lambda n: None,
) -> Copies:
    """Write a copy of every utterance under a condition.

    Args:
        manifest: the utterances, all with audio
        root: folder that their audio paths start from
        level: the condition and its level
        sources: noises and responses
        seed: of the draws
        folder: the copies', made where there is none; copies of an earlier run are replaced
        advance: called with 1 after each utterance

    Returns:
        the manifest of the copies, what has none and why
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, tuple[str, str, float]] = {}
    losses: dict[str, list[str]] = {}
    quieter = 0
    for row, (utterance, recording) in enumerate(zip(manifest.ids, segments.of(manifest, root), strict=True)):
        try:
            if recording is None:
                raise Unaltered("no audio")
            samples, scaled = _copy(
                segments.decode(recording), level, generator(seed, utterance, level.condition), sources
            )
        except (BadAudio, Unaltered) as error:
            reason = error.reason if isinstance(error, BadAudio) else str(error)
            losses.setdefault(reason, []).append(utterance)
        else:
            content = wave_bytes(samples)
            name = f"{hashlib.sha256(utterance.encode()).hexdigest()[:32]}.wav"
            atomic.write_file(folder / name, content, prepare=False)
            rows[row] = (name, hashlib.sha256(content).hexdigest(), len(samples) / SAMPLE_RATE)
            quieter += scaled
        advance(1)
    return Copies(_manifest_of(manifest, rows), losses, quieter)


def wave_bytes(samples: np.ndarray) -> bytes:
    """Return a WAV file of 32-bit floats at 16 kHz, without the date that libsndfile writes into one.

    Args:
        samples: shape ``(n_samples,)``
    """
    file = io.BytesIO()
    wavfile.write(file, SAMPLE_RATE, samples.astype(np.float32))
    return file.getvalue()


def _copy(waveform: np.ndarray, level: Level, rng: np.random.Generator, sources: Sources) -> tuple[np.ndarray, bool]:
    """Return the altered waveform within full scale, and whether it was made quieter for that.

    Raises:
        Unaltered: it cannot be had under the condition, or nothing is left of it
    """
    samples = altered(waveform, level, rng, sources)
    peak = float(np.abs(samples).max())
    if peak < SILENCE:
        raise Unaltered(f"silent under {level.condition}")
    return (samples / np.float32(peak), True) if peak > 1 else (samples, False)


def _manifest_of(manifest: Manifest, rows: dict[int, tuple[str, str, float]]) -> Manifest:
    """Return the manifest of the copies: their names, checksums and lengths, no part of a recording."""
    chosen = keep(manifest, np.isin(np.arange(len(manifest)), [*rows]))
    names, digests, durations = zip(*rows.values(), strict=True) if rows else ((), (), ())
    frame = chosen.frame.assign(
        audio=pd.Series(names, dtype=object),
        audio_sha256=pd.Series(digests, dtype=object),
        duration_s=np.array(durations, np.float64),
        start_s=np.nan,
        end_s=np.nan,
    )
    return replace(chosen, frame=frame)
