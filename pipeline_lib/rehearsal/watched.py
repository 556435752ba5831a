"""A stage that records its highest memory: ``python -m pipeline_lib.rehearsal.watched RECORD stages.X ARG``."""

import json
import runpy
import sys
from pathlib import Path


def main(record: str, module: str, *arguments: str) -> None:
    """Run a stage's command and write its highest memory, whether it succeeds or not.

    Args:
        record: file to write
        module: of the stage
        arguments: of its command
    """
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if "torch" in sys.modules:
            from pipeline_lib.encoders.device import pick
            from pipeline_lib.rehearsal.measure import peak_gb

            Path(record).write_text(json.dumps({"peak_gb": peak_gb(pick())}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
