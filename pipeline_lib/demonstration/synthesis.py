"""Text to waveform with eSpeak NG: every utterance from the same fresh state, so its bytes depend on nothing before it.

The synthesiser keeps state from one utterance to the next (wave phase, resonators, noise) that its interface cannot
reset. Each utterance is therefore spoken in a fork of a process that has never spoken. POSIX only.
"""

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from pipeline_lib.command import end_with
from pipeline_lib.demonstration.prosody import Prosody

SAMPLE_RATE = 16_000
_ESPEAK_RATE = 22_050
_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_LONGEST_PATH = 140  # characters; the library copies its data path into a buffer of 160
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Utterance:
    """An utterance to speak.

    Args:
        text: words
        espeak: the synthesiser's voice name, ``gmw/en-US+f3`` for example
        prosody: manner
        phase: of the tremor, in [0, 1)
        warp: playing speed, 1 as synthesised; 1.05 shortens the vocal tract and the utterance by 5 %
    """

    text: str
    espeak: str
    prosody: Prosody
    phase: float = 0.0
    warp: float = 1.0


def speak_all(utterances: Sequence[Utterance], workers: int) -> Iterator[np.ndarray]:
    """Yield every utterance's waveform in order: int16, mono, 16 kHz, shape ``(n_samples,)``.

    Args:
        utterances: to speak
        workers: number of processes

    Raises:
        ValueError: see ``speak``
    """
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with, initargs=(os.getpid(),)) as pool:
        yield from pool.map(speak, utterances, chunksize=32)


def speak(utterance: Utterance) -> np.ndarray:
    """Return one utterance's waveform: int16, mono, 16 kHz, shape ``(n_samples,)``.

    Raises:
        ValueError: the synthesiser does not know the voice, or made no sound
    """
    import espeakng_loader  # of the extra pipeline

    espeak, variant = _espeak(), utterance.espeak.partition("+")[2]
    if variant and not (Path(espeakng_loader.get_data_path()) / "voices" / "!v" / variant).is_file():
        raise ValueError(f"eSpeak NG has no voice variant {variant!r}")  # eSpeak NG would speak without it
    raw = _in_a_fork(lambda: espeak(utterance))
    if not raw:
        raise ValueError(f"eSpeak NG made no sound for {utterance.text!r} with voice {utterance.espeak!r}")
    wave = np.frombuffer(raw, dtype=np.int16) / 32768.0
    wave = soxr.resample(wave, _ESPEAK_RATE * utterance.warp, SAMPLE_RATE, quality="VHQ")
    return _shape(wave, utterance)


def _shape(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
    """Add tremor, fade and volume, and quantise to 16 bits."""
    prosody = utterance.prosody
    time_s = np.arange(len(wave)) / SAMPLE_RATE
    depth = np.clip(0.25 + 0.25 * prosody.tremor, 0.0, 0.85)
    wave = wave * (1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * (6.0 * time_s + utterance.phase))))
    fade_db = 4.0 * prosody.fade * np.linspace(-1.0, 1.0, len(wave))
    wave = wave * 10 ** (fade_db / 20)
    peak = 0.25 * 10 ** (3.0 * prosody.volume / 20)
    return np.round(wave / np.abs(wave).max() * min(peak, 0.9) * 32767).astype(np.int16)


@cache
def _espeak() -> Callable[[Utterance], bytes]:
    """Start the library in this process and return its speaking function, which is to be called in forks only."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    blocks: list[bytes] = []

    def receive(samples: Any, count: int, events: object) -> int:
        if samples and count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(receive)
    data, link = Path(espeakng_loader.get_data_path()), None
    if len(str(data)) > _LONGEST_PATH:
        link = tempfile.TemporaryDirectory(prefix="espeak_")  # lives as long as say() below
        (Path(link.name) / "data").symlink_to(data)
        data = Path(link.name) / "data"
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 0)
    if rate != _ESPEAK_RATE:
        raise ValueError(
            f"eSpeak NG started with {rate}, expected a sampling rate of {_ESPEAK_RATE} Hz (data missing?)"
        )
    library.espeak_SetSynthCallback(callback)

    def say(utterance: Utterance, alive: object = (callback, link)) -> bytes:
        if library.espeak_SetVoiceByName(utterance.espeak.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {utterance.espeak!r}")
        for parameter, value in _parameters(utterance.prosody):
            library.espeak_SetParameter(parameter, value, 0)
        text = (utterance.text + ("?" if utterance.prosody.rise else ".")).encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        return b"".join(blocks)

    return say


def _parameters(prosody: Prosody) -> list[tuple[int, int]]:
    """Return the synthesiser's parameters: words a minute, percent, percent, units of 10 ms."""
    return [
        (_RATE, round(float(np.clip(205 * np.exp(0.17 * prosody.rate), 110, 360)))),
        (_VOLUME, 80),
        (_PITCH, round(float(np.clip(50 + 14 * prosody.pitch, 2, 98)))),
        (_RANGE, round(float(np.clip(50 + 20 * prosody.pitch_range, 0, 99)))),
        (_WORDGAP, round(float(np.clip(1.2 * np.exp(0.8 * prosody.pauses), 0, 11)))),
    ]


def _in_a_fork(work: Callable[[], bytes]) -> bytes:
    """Return the result of ``work`` in a forked child; the child's state dies with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(work())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise ValueError("eSpeak NG failed in its child process (an unknown voice?)")
    return result
