"""Write the JSON schema that editors read params.yaml by: ``python -m pipeline_lib.params.schema``."""

import json
from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.sections import schema

SCHEMA = Path(__file__).with_name("params.schema.json")


def text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


def main(out: Path = SCHEMA) -> None:
    """Write the schema of all sections."""
    out.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    run(main)
