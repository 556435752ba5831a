"""Train models/demo/w2v_bert, see ``w2v_bert``. The speaking processes import this file too: nothing heavy."""

from pathlib import Path

import typer

UTTERANCES, STEPS = 5000, 2500


def main(out: Path = Path("models/demo/w2v_bert"), utterances: int = UTTERANCES, steps: int = STEPS) -> None:
    """Synthesise speech, pretrain a small w2v-BERT 2.0 on it without labels, save it.

    \f
    Args:
        out: folder to write
        utterances: number of utterances to speak
        steps: number of training steps
    """
    from pipeline_lib.demonstration.checkpoints.w2v_bert import train_checkpoint

    train_checkpoint(out, utterances, steps)


if __name__ == "__main__":
    typer.run(main)
