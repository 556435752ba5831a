"""Parts of a recording that are predicted one by one: turns of speech, or equal lengths of time.

``vad``: silero-vad (Silero Team 2024, v6; MIT) gives each 32 ms a probability of speech. Speech begins at 0.5 and goes
on until it was below 0.35 for ``PAUSE_S``; shorter speech than ``SHORTEST_S`` is none, and each turn keeps ``MARGIN_S``
on both sides. The thresholds are Silero's; its pause of 0.1 s, which parts words, is longer here, since an emotion is
that of a turn. Seconds: parts of one length, none longer than the number. No part is longer than the longest audio that
the experts read whole: a longer turn is divided where speech is least probable, in the second half of what is allowed.

The network is read from silero-vad's own wheel, whose code (and with it torch's JIT) is not imported. It runs over
blocks of a recording, so that one of hours fits into memory; the same file gives the same times.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio, decode, probe
from pipeline_lib.errors import InputError

How = Literal["none", "vad"] | float
Times = list[tuple[float, float]]

NETWORK = Path("data", "silero_vad_16k_sequence.onnx")  # in the package silero_vad, from 6.2.3 on
INSTALL = "pip install 'speech-emotion-pipeline[predict]'"
FRAME, CONTEXT = 512, 64  # samples of a frame, and of the one before that the network sees too
FRAME_S = FRAME / SAMPLE_RATE
BEGINS, ENDS = 0.5, 0.35  # probabilities
PAUSE_S, SHORTEST_S, MARGIN_S = 0.5, 0.25, 0.1
BLOCK_S = 60.0
_FRAMES = 512  # of one call


def cut(samples: np.ndarray, how: How, longest_s: float | None = None) -> Times:
    """Return the parts of a recording in memory.

    Args:
        samples: float32 at 16 kHz, shape ``(n_samples,)``
        how: ``vad``, or a number of seconds, > 0
        longest_s: longest audio that is read whole, in seconds; None for any

    Returns:
        start and end of each part in seconds, in order; none where nobody speaks

    Raises:
        InputError: the number is not above 0, or silero-vad or onnxruntime is not installed
    """
    return _cut([samples], len(samples) / SAMPLE_RATE, how, longest_s)


def parts(
    path: Path, how: How, longest_s: float | None = None, start_s: float | None = None, end_s: float | None = None
) -> Times:
    """Return the parts of a recording on disk, or of a part of it; ``BLOCK_S`` of it is in memory at a time.

    Args:
        path: the recording, of any length
        how: ``vad``, or a number of seconds, > 0
        longest_s: longest audio that is read whole, in seconds; None for any
        start_s: beginning of the part that is cut, None for the recording's
        end_s: its end, None for the recording's

    Returns:
        start and end of each part in seconds of the recording, in order; none where nobody speaks

    Raises:
        BadAudio: the recording, or a part of it, cannot be decoded, or it ends before ``start_s``
        InputError: see ``cut``
    """
    lasts_s, begin_s = probe(path).duration_s, start_s or 0.0
    until_s = lasts_s if end_s is None else min(end_s, lasts_s)
    if not begin_s < until_s:
        raise BadAudio("segment", f"{path} from {begin_s:g} s to {until_s:g} s holds nothing, it lasts {lasts_s:.3f} s")
    blocks = _blocks(path, begin_s, until_s)
    return [(round(begin_s + a, 3), round(begin_s + b, 3)) for a, b in _cut(blocks, until_s - begin_s, how, longest_s)]


def _blocks(path: Path, begin_s: float, until_s: float) -> Iterator[np.ndarray]:
    for number in range(math.ceil((until_s - begin_s) / BLOCK_S)):
        start_s = begin_s + number * BLOCK_S
        if (until_s - start_s) * SAMPLE_RATE >= 1:
            yield decode(path, start_s, min(BLOCK_S, until_s - start_s))


def _cut(blocks: Iterable[np.ndarray], lasts_s: float, how: How, longest_s: float | None) -> Times:
    if how == "vad":
        return turns(probabilities(blocks), lasts_s, longest_s)
    if isinstance(how, str) or not how > 0 or not math.isfinite(how):
        raise InputError(f"segments are {how!r}, expected vad or a number of seconds above 0")
    n = max(1, math.ceil(lasts_s / min(how, longest_s or how) - 1e-9))
    return [(i * lasts_s / n, (i + 1) * lasts_s / n) for i in range(n)]


def turns(speech: np.ndarray, lasts_s: float, longest_s: float | None = None) -> Times:
    """Return the turns of a recording by its frames' probabilities of speech.

    Args:
        speech: of each frame of ``FRAME_S``, in [0, 1], shape ``(n_frames,)``
        lasts_s: duration of the recording in seconds; no turn ends later
        longest_s: longest turn in seconds, at least 1; None for any

    Returns:
        start and end of each in seconds, to the millisecond, in order, not overlapping
    """
    pause = round(PAUSE_S / FRAME_S)
    times: Times = []
    for first, last in _spoken(speech, pause):
        if (last - first) * FRAME_S >= SHORTEST_S:
            before = times[-1][1] if times else 0.0
            times.append((max(before, first * FRAME_S - MARGIN_S), min(lasts_s, last * FRAME_S + MARGIN_S)))
    divided: Times = []
    for start, end in times:
        divided += [(start, end)] if longest_s is None else _divided(speech, start, end, longest_s)
    return [(round(start, 3), round(end, 3)) for start, end in divided]


def _spoken(speech: np.ndarray, pause: int) -> Iterator[tuple[int, int]]:
    """Yield first and one behind the last frame of each stretch of speech; ``pause`` frames of none end it."""
    first = last = None
    for i, probability in enumerate(speech.tolist()):
        if first is None:
            if probability >= BEGINS:
                first, last = i, i + 1
        elif probability >= ENDS:
            last = i + 1
        elif last is not None and i + 1 - last >= pause:
            yield first, last
            first = last = None
    if first is not None and last is not None:
        yield first, last


def _divided(speech: np.ndarray, start: float, end: float, longest_s: float) -> Times:
    """Return a turn in parts that are not too long, the last one at least a quarter of what is allowed."""
    times: Times = []
    while end - start > longest_s:
        latest = min(start + longest_s, end - longest_s / 4)
        low, high = math.ceil((start + longest_s / 2) / FRAME_S), math.floor(latest / FRAME_S)
        at = (low + int(speech[low : high + 1].argmin())) * FRAME_S if low <= high else latest
        times.append((start, at))
        start = at
    return [*times, (start, end)]


def probabilities(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the probability of speech of each ``FRAME_S`` of a recording; the last frame is filled up with silence.

    Args:
        blocks: of the recording in order, float32 at 16 kHz, each of shape ``(n_samples,)`` of any length

    Returns:
        in [0, 1], shape ``(n_frames,)``

    Raises:
        InputError: silero-vad or onnxruntime is not installed
    """
    session = network()
    context, rest = np.zeros(CONTEXT, np.float32), np.zeros(0, np.float32)
    hidden, cell = np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
    results = [np.zeros(0, np.float32)]
    for block in _with_end(blocks):
        joined = rest if block is None else np.concatenate([rest, block.astype(np.float32)])
        if block is None:
            joined = np.pad(joined, (0, -len(joined) % FRAME))
        whole = len(joined) // FRAME * FRAME
        rest = joined[whole:]
        for begin in range(0, whole, _FRAMES * FRAME):
            frames = joined[begin : min(begin + _FRAMES * FRAME, whole)].reshape(-1, FRAME)
            before = np.concatenate([context[None], frames[:-1, -CONTEXT:]])
            inputs = {"input": np.concatenate([before, frames], axis=1), "h": hidden, "c": cell}
            values, hidden, cell = session.run(["speech_probs", "hn", "cn"], inputs)
            results.append(values.reshape(-1))
            context = frames[-1, -CONTEXT:]
    return np.concatenate(results)


def _with_end(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
    yield from blocks
    yield None


@cache
def network() -> Any:
    """Return silero-vad's network as onnxruntime's session on one thread, loaded once.

    Raises:
        InputError: silero-vad or onnxruntime is not installed
    """
    spec = find_spec("silero_vad")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    path = next((Path(folder) / NETWORK for folder in folders if (Path(folder) / NETWORK).is_file()), None)
    if path is None:
        lacks = "is not installed" if not folders else f"has no {NETWORK.name}, expected version 6.2.3 or newer"
        raise InputError(f"turns of speech are cut by silero-vad, which {lacks}; {INSTALL}")
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"silero-vad is run by onnxruntime, which is not installed; {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
