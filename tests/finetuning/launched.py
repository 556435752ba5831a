"""What each process of a test runs: the stage, with the weights that training left there written to a file of its own.

``python -m torch.distributed.run ... -m tests.finetuning.launched FOLDER EXPERT KILLED_AFTER [...]`` trains experts one
after another; a number above 0 kills the second process after so many steps.
"""

import os
import sys
from pathlib import Path

from safetensors.torch import save_file

from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.train import Training
from stages.finetuning import main

RANK = int(os.environ.get("RANK", 0))


def train(folder: Path, expert: str, killed_after: int) -> None:
    """Run the stage."""
    run, step = Training.run, Steps._step

    def seen(training):
        history = run(training)
        save_file(training._weights(), folder / f"{expert}_{RANK}.safetensors")
        return history

    def killed(steps, state, *rest):
        if killed_after and state.total == killed_after and RANK == 1:
            os._exit(9)
        return step(steps, state, *rest)

    Training.run, Steps._step = seen, killed
    tables = {"manifest_path": folder / "manifest.parquet", "transcripts_path": folder / "transcripts.parquet"}
    paths = {"models": "models", "out": "predictions", "curves": "curves", "work": "work"}
    try:
        paths_in = {name: folder / path for name, path in paths.items()}
        main(expert, folder / "params.yaml", folder / "machine.yaml", **tables, **paths_in)
    finally:
        Training.run, Steps._step = run, step


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for where, name, after in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True):
        train(Path(where), name, int(after))
