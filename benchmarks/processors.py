"""What of the difference between processors is threads, instruction set or load: one short training, many settings.

``python -m benchmarks.processors PROJECT`` trains an expert of a project whose corpus and transcripts are there for a
few steps on every tenth utterance, each time in a process and a folder of its own, with one thing changed, and prints
how far the weights and the posteriors are from those of the first row. Nothing in PROJECT is written.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from pipeline_lib.arithmetic import INSTRUCTIONS
from pipeline_lib.command import run
from pipeline_lib.tables import manifest, predictions

SETTINGS: dict[str, dict[str, str]] = {  # what is changed in each row, beside one thread
    "one thread": {},
    "again": {},
    "again, while another process computes": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "four threads": {"OMP_NUM_THREADS": "4"},
    "torch's own loops for any x86-64": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN up to AVX": {"ONEDNN_MAX_CPU_ISA": "AVX"},
    "MKL the same on all processors (MKL_CBWR=COMPATIBLE)": {"MKL_CBWR": "COMPATIBLE"},
    "held to AVX2, as stages are where there is AVX-512": dict(INSTRUCTIONS),
}
BUSY = "import numpy; [numpy.ones((800, 800)) @ numpy.ones((800, 800)) for _ in iter(int, 1)]"


def lay(folder: Path, project: Path, expert: str, steps: int) -> None:
    """Make a folder in which the stage runs: code, corpus and checkpoints by link, every tenth utterance, few steps.

    Args:
        folder: to be made
        project: that has run as far as its transcripts
        expert: an entry of finetuning
        steps: of each phase
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("pipeline_lib", "stages"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(name).absolute())
    for name in ("data/transcripts.parquet", "data/demonstration", "models/demo"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((project / name).absolute())
    corpus = manifest.read(project / "data/manifest.parquet")
    manifest.write(folder / "data/manifest.parquet", manifest.keep(corpus, np.arange(len(corpus)) % 10 == 0))
    yaml = YAML()
    params = yaml.load((project / "params.yaml").read_text(encoding="utf-8"))
    params["finetuning"][expert]["max_steps"] = steps
    yaml.dump(params, folder / "params.yaml")


def train(folder: Path, expert: str, changes: dict[str, str], *, busy: bool) -> None:
    """Train an expert in a folder.

    Args:
        folder: see ``lay``
        expert: an entry of finetuning
        changes: of the environment, beside one thread
        busy: whether another process computes at the same time
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_DYNAMIC": "FALSE"} | changes
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        command = [sys.executable, "-m", "stages.finetuning", expert]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    finally:
        if other is not None:
            other.kill()
            other.wait()


def outcome(folder: Path, expert: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all trained weights, shape ``(n,)``, and the posteriors, shape ``(n_utterances, n_labels)``.

    Args:
        folder: see ``lay``, trained
        expert: an entry of finetuning
    """
    files = sorted((folder / "models" / expert).rglob("*.safetensors"))
    weights = [load_file(path) for path in files]
    flat = [tensors[name].astype(np.float64).ravel() for tensors in weights for name in sorted(tensors)]
    return np.concatenate(flat), predictions.read(folder / f"data/predictions/{expert}.parquet").posterior


def main(
    project: Annotated[Path, typer.Argument(help="that has run as far as its transcripts")],
    expert: Annotated[str, typer.Option(help="an entry of finetuning")] = "audio",
    steps: Annotated[int, typer.Option(help="of each training")] = 20,
    only: Annotated[list[str] | None, typer.Option(help="rows; all by default")] = None,
    work: Path = Path("work/processors"),
) -> None:
    """Train a few steps under each setting and print the distances from the first."""
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {steps} steps of the expert {expert}")
    print("| setting | weights that differ | largest difference | posteriors: largest difference | other labels |")
    print("|---|---|---|---|---|")
    first = None
    for number, (name, changes) in enumerate(SETTINGS.items()):
        if first is not None and only and name not in only:
            continue
        lay(work / str(number), project, expert, steps)
        train(work / str(number), expert, changes, busy="another process" in name)
        weights, posteriors = outcome(work / str(number), expert)
        first = (weights, posteriors) if first is None else first
        share, largest = np.mean(weights != first[0]), np.abs(weights - first[0]).max()
        moved = np.abs(posteriors - first[1]).max()
        labels = int((posteriors.argmax(axis=1) != first[1].argmax(axis=1)).sum())
        print(f"| {name} | {share:.1%} | {largest:.2g} | {moved:.2g} | {labels} of {len(posteriors)} |", flush=True)


if __name__ == "__main__":
    run(main)
