"""Training killed (SIGKILL) while a checkpoint is written, or at any time, then run again: the same bytes come out.

The points are every change to the disk that writing a checkpoint makes: before it, after it, and with half of a file
written or half of a folder removed. The tiny experts of ``tests/finetuning`` train in two phases, a checkpoint a step.
"""

import os
import random
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.finetune import discard, finetune
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.tables import predictions
from tests.encoders import checkpoints as encoders
from tests.faults import forked
from tests.faults.cases import Case, command
from tests.finetuning import corpora

LIMIT_S = 120.0
PHASE = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003}
CHUNK = {"audio": {"chunk_s": [0.3, 0.4]}, "text": {}}
MORE = {
    "audio": {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}},
    "text": {"head": {"kind": "sequence_classification"}, "text": "reference"},
}


class Dying:
    """Stands around every change that checkpoints make to the disk, counts them, and dies at one of them."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.seen, self.inside = at, how, 0, False

    def around(self, change: Callable, half: Callable | None = None) -> Callable:
        """Return ``change`` with death before it, in the middle of it, or after it."""

        def changed(*arguments: Any, **options: Any) -> Any:
            if not self.inside:
                return change(*arguments, **options)
            mine = self.seen == self.at
            self.seen += 1
            if mine and self.how == "half" and half is not None:
                half(*arguments)
            if mine and self.how != "after":
                forked.die()
            result = change(*arguments, **options)
            if mine:
                forked.die()
            return result

        return changed

    def watching(self, write: Callable) -> Callable:
        """Return ``write``, its changes counted."""

        def watched(*arguments: Any) -> Any:
            self.inside = True
            try:
                return write(*arguments)
            finally:
                self.inside = False

        return watched

    def __enter__(self) -> "Dying":
        """Stand around."""
        replaced = [
            mock.patch.object(os, "fsync", self.around(os.fsync, _half_a_file)),
            mock.patch.object(Path, "write_bytes", self.around(Path.write_bytes, _nothing)),
            mock.patch.object(shutil, "rmtree", self.around(shutil.rmtree, _half_a_folder)),
            *(mock.patch.object(Path, name, self.around(getattr(Path, name))) for name in ("rename", "replace")),
            mock.patch.object(Path, "unlink", self.around(Path.unlink)),
            mock.patch.object(Path, "mkdir", self.around(Path.mkdir)),
            *(
                mock.patch.object(checkpoints, name, self.watching(getattr(checkpoints, name)))
                for name in ("write", "write_best", "discard")
            ),
        ]
        self.patches = replaced
        for each in replaced:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stand aside."""
        for each in reversed(self.patches):
            each.stop()


def _half_a_file(descriptor: int) -> None:
    """Cut the file to half of its length, as a disk does whose cache was lost before the sync; folders stay."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.truncate(f"/proc/self/fd/{descriptor}", os.fstat(descriptor).st_size // 2)


def _nothing(path: Path, _: bytes) -> None:
    path.touch()


def _half_a_folder(folder: Path, *_: object) -> None:
    for path in sorted(folder.rglob("*"))[:1] if folder.exists() else []:
        os.unlink(path)  # noqa: PTH108 (Path.unlink is watched)


def tones(root: Path) -> SimpleNamespace:
    """Write the corpus and the checkpoints of both modalities."""
    written = {name: encoders.write(root / "checkpoints", name) for name in ("w2v_bert", "llama")}
    corpus = corpora.make(root)
    return SimpleNamespace(
        corpus=corpus,
        root=root,
        texts=corpus.frame["reference_text"].tolist(),
        settings={modality: settings(path, modality) for modality, path in zip(CHUNK, written.values(), strict=True)},
    )


def settings(checkpoint: Path, modality: str) -> FinetuningSettings:
    """Return two phases, the second of the head alone, with a checkpoint after every step."""
    first = {**PHASE, **CHUNK[modality]}
    second = {**first, "epochs": 1, "train": "head", "sampler": "balanced", "optim": "adamw"}
    phases = {"only": first, "then": second}
    return corpora.settings(checkpoint, modality, phases=phases, **MORE[modality])


def train(corpus: SimpleNamespace, modality: str, folder: Path) -> None:
    """Do what the stage does: train, save, predict, write, take the checkpoints away."""
    texts = corpus.texts if modality == "text" else None
    places = {"expert": folder / "expert", "curve": folder / "curve", "work": folder / "work"}
    places |= {"machine": corpora.machine(save_steps=1, threads=1)}
    found, unfinished = finetune("tones", corpus.settings[modality], corpus.corpus, corpus.root, texts, **places)
    predictions.write(folder / "predictions.parquet", found)
    discard(unfinished)


def produced(folder: Path) -> dict[str, bytes]:
    """Return the bytes of what a training leaves, its logs aside."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "work" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def left(folder: Path) -> list[str]:
    """Return what is left of checkpoints and half-written files."""
    odd = ("checkpoint_", ".checkpoint_", "best_", ".best_", ".tones", "shard_")
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(odd) or ".tmp" in path.name)


def killed_at(corpus: SimpleNamespace, modality: str, expected: dict, at: int, how: str, folder: Path) -> None:
    """Die at one change to the disk, then train again."""

    def dying() -> None:
        with Dying(at, how) as counting:
            train(corpus, modality, folder)
        print(f"trained to the end, with {counting.seen} changes to the disk")

    log = folder / "dying.txt"
    status = forked.run(dying, LIMIT_S, str(log))
    text = log.read_text(errors="replace")
    assert status == -signal.SIGKILL, f"did not die: {forked.outcome(status, LIMIT_S)}: {text[-300:]}"
    log.unlink()
    again(corpus, modality, expected, folder)


def killed_after(corpus: SimpleNamespace, modality: str, expected: dict, seconds: float, folder: Path) -> None:
    """Die after some time, then train again."""
    child = forked.start(partial(train, corpus, modality, folder))
    time.sleep(seconds)
    os.kill(child, 9)
    assert forked.wait(child, 10) is not None
    again(corpus, modality, expected, folder)


def again(corpus: SimpleNamespace, modality: str, expected: dict, folder: Path) -> None:
    """Train again and compare."""
    said = folder / "said.txt"
    status = forked.run(partial(train, corpus, modality, folder), LIMIT_S, str(said))
    text = said.read_text(errors="replace") if said.exists() else ""
    assert status == 0, f"the same command {forked.outcome(status, LIMIT_S)}: {text[-300:]}"
    said.unlink()
    found = produced(folder)
    assert found == expected, f"differs in {sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))}"
    assert not left(folder), f"left {left(folder)}"


def measured(corpus: SimpleNamespace, modality: str, folder: Path) -> tuple[dict[str, bytes], int, float]:
    """Train without harm: what comes out, how many changes to the disk there are, and how long it takes."""

    def whole() -> None:
        with Dying(-1, "before") as counting:
            train(corpus, modality, folder)
        (folder.parent / f"{modality}.count").write_text(str(counting.seen))

    began = time.monotonic()
    assert forked.run(whole, LIMIT_S, str(folder.parent / "said.txt")) == 0, (folder.parent / "said.txt").read_text()
    return produced(folder), int((folder.parent / f"{modality}.count").read_text()), time.monotonic() - began


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield kills: audio and text in turn, one in four at any time, the others at a change to the disk."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fault_tones_") as place:
        root = Path(place)
        corpus = tones(root)
        whole = {modality: measured(corpus, modality, root / f"whole_{modality}") for modality in CHUNK}
        for number in range(count):
            modality = list(CHUNK)[number % 2]
            expected, changes, seconds = whole[modality]
            if number % 8 >= 6:
                after = draw.uniform(0, seconds)
                check = partial(killed_after, corpus, modality, expected, after)
                yield Case(f"after {after:.2f} s", f"{modality} at any time", check)
            else:
                at, how = draw.randrange(changes), draw.choice(("before", "half", "after"))
                check = partial(killed_at, corpus, modality, expected, at, how)
                yield Case(f"{how} change {at} of {changes}", f"{modality} in a checkpoint", check)


if __name__ == "__main__":
    command("checkpoints", cases, 80)
