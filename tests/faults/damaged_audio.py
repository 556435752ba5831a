"""Damaged recordings at every door: refused with a reason, quarantined, or decoded as is documented.

The doors are ``audio.decode``, ``audio.check``, the corpus stage, transcription's recogniser (with an engine that only
stores its input) and fine-tuning's recordings. Each case runs in a process of its own, with little memory and
time: none may crash, hang or fill the machine.
"""

import json
import resource
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import BadAudio
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.experts.readers import Recordings
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.tables.origin import NO_MODEL
from pipeline_lib.transcription.recognition import Recognizer
from tests.faults import forked, tables
from tests.faults.cases import Case, command, share
from tests.faults.damaged_recordings import Kind, kinds

LIMIT_S, LIMIT_GB = 20.0, 2.0
LONGEST_S = 120.0


class Recorder:
    """An engine that stores its waveforms."""

    origin = NO_MODEL

    def __init__(self) -> None:
        self.waveforms: list[np.ndarray] = []

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Store the waveforms and return empty texts."""
        self.waveforms += [np.asarray(waveform) for waveform in waveforms]
        return [""] * len(waveforms)


def decoded(root: Path, name: str) -> np.ndarray:
    """Return what decoding gives."""
    return decoding.decode(root / name)


def checked(root: Path, name: str) -> np.ndarray:
    """Return what the check takes."""
    return decoding.check(root / name, 0.1, LONGEST_S)


def collected(root: Path, name: str) -> np.ndarray:
    """Return the recording as the corpus stage keeps it; a row of the quarantine becomes the reason."""
    tables.recordings(root)
    (root / "corpus.csv").write_text(tables.table(f"{name},joy,test,s3"))
    found = collect(tables.settings(root, max_duration_s=LONGEST_S))
    assert len(found.manifest) + len(found.quarantine) == 9, "a row was lost"
    if len(found.quarantine):
        reason = found.quarantine["reason"][0]
        raise BadAudio(reason.split(":")[0], reason)
    row = found.manifest.frame[found.manifest.frame["audio"] == name].iloc[0]
    samples = decoding.decode(root / name)
    assert abs(row["duration_s"] - len(samples) / decoding.SAMPLE_RATE) < 1e-9
    return samples


def transcribed(root: Path, name: str) -> np.ndarray:
    """Return the engine's input."""
    engine = Recorder()
    settings = TranscriptionSettings.parse({"engine": "canary"}, "transcription")
    Recognizer(settings, lambda: engine).texts([root / name])
    return np.concatenate(engine.waveforms) if engine.waveforms else np.zeros(0, np.float32)


def trained(root: Path, name: str) -> np.ndarray:
    """Return what fine-tuning reads."""
    samples = Recordings([root / name], np.zeros(1))(0, 0.0, None)
    assert samples is not None
    return samples


DOORS: dict[str, Callable[[Path, str], np.ndarray]] = {
    "decode": decoded,
    "check": checked,
    "corpus": collected,
    "transcription": transcribed,
    "finetuning": trained,
}
JUDGING = ("check", "corpus")


def through(door: str, kind: Kind, root: Path) -> None:
    """Open one kind at one door, in a child."""
    name = f"recording{kind.suffix}"
    inside = root / "corpus"
    inside.mkdir()
    kind.make(inside / name)
    said = root / "said.json"

    def child() -> None:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + int(LIMIT_GB * 1e9),) * 2)
        try:
            samples = DOORS[door](inside, name)
        except BadAudio as error:
            said.write_text(json.dumps({"reason": error.reason, "message": str(error)}))
        except InputError as error:  # the table's line names a path that cannot be followed, or leads outside
            said.write_text(json.dumps({"reason": "outside", "message": str(error)}))
        else:
            np.save(root / "samples.npy", samples)
            said.write_text(json.dumps({"reason": None}))

    status = forked.run(child, LIMIT_S, str(root / "log.txt"))
    assert status is not None, forked.outcome(status, LIMIT_S)
    assert status == 0, f"died with {status}: {(root / 'log.txt').read_text()[-300:]}"
    judge(door, kind, root, json.loads(said.read_text()))


def judge(door: str, kind: Kind, root: Path, said: dict) -> None:
    """Hold what was said against what was to be said."""
    refused = bool(kind.reasons) and not (kind.taken_by_decode and door not in JUDGING)
    if refused:
        assert said["reason"] is not None, "was taken"
        assert said["reason"] in kind.reasons, f"refused as {said}, expected {sorted(kind.reasons)}"
        return
    if said["reason"] is not None:
        assert said["reason"] in kind.reasons, f"refused: {said}"
        return
    samples = np.load(root / "samples.npy")
    assert np.isfinite(samples).all() and np.abs(samples).max(initial=0) <= 1
    if kind.sound is not None:
        assert samples.shape == kind.sound.shape, samples.shape
        assert np.abs(samples - kind.sound).max() <= kind.tolerance, "another sound"


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield ``count`` of every kind at every door, or all."""
    every = [Case(kind.name, door, partial(through, door, kind)) for kind in kinds() for door in DOORS]
    yield from share(every, count, seed)


if __name__ == "__main__":
    command("damaged_audio", cases, 310)
