"""Train models/demo/canary.nemo; ``canary_training`` says how. Imports nothing heavy: the speaking processes load it."""

from pathlib import Path

import typer

UTTERANCES, STEPS = 9000, 1700


def main(out: Path = Path("models/demo/canary.nemo"), utterances: int = UTTERANCES, steps: int = STEPS) -> None:
    """Synthesise speech, train a small Canary on it, save it."""
    from pipeline_lib.demonstration.canary_training import train_checkpoint

    train_checkpoint(out, utterances, steps)


if __name__ == "__main__":
    typer.run(main)
