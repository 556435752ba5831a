"""Train models/demo/canary.nemo, see ``canary``. The speaking processes import this file too: nothing heavy."""

from pathlib import Path

import typer

UTTERANCES, STEPS = 8000, 1600


def main(out: Path = Path("models/demo/canary.nemo"), utterances: int = UTTERANCES, steps: int = STEPS) -> None:
    """Synthesise speech, train a small Canary on it, save it.

    \f
    Args:
        out: .nemo file to write
        utterances: number of utterances to speak
        steps: number of training steps
    """
    from pipeline_lib.demonstration.checkpoints.canary import train_checkpoint

    train_checkpoint(out, utterances, steps)


if __name__ == "__main__":
    typer.run(main)
