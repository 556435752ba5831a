"""JSON schema that editors read params.yaml by; ``ser schema`` writes it."""

import json
from pathlib import Path

from pipeline_lib.params.sections import schema

SCHEMA = Path(__file__).with_name("params.schema.json")


def text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"
