"""A stage that records its highest memory: ``python -m pipeline_lib.rehearsal.watched RECORD STAGE ARG``."""

import importlib
import json
import sys
from pathlib import Path

from pipeline_lib.command import run

STAGES = ("corpus", "transcription", "embedding", "finetuning")


def main(record: str, stage: str, *arguments: str) -> None:
    """Run a stage's command and write its highest memory, whether it succeeds or not.

    Args:
        record: file to write
        stage: one of ``STAGES``
        arguments: of its command

    Raises:
        ValueError: another stage
    """
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is no stage that is watched, expected one of {STAGES}")
    sys.argv = [stage, *arguments]
    try:
        run(importlib.import_module(f"stages.{stage}").main)
    finally:
        if "torch" in sys.modules:
            from pipeline_lib.encoders.device import pick
            from pipeline_lib.rehearsal.measure import peak_gb

            Path(record).write_text(json.dumps({"peak_gb": peak_gb(pick())}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
