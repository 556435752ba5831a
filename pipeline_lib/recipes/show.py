"""params.yaml as the stages read it."""

from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from pipeline_lib.params.base import PARAMS, read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.sections import ORDER, SINGLE
from pipeline_lib.recipes.compose import write_yaml


def show(path: Path = PARAMS, *, changed: bool = False) -> str:
    """Return the settings of a params.yaml as YAML that reads as the same settings.

    Args:
        path: the file
        changed: leave out keys whose value is the default of their settings class; required keys have none and stay

    Returns:
        all sections, in their order

    Raises:
        ParameterError: the file cannot be read, or a section, key or value is wrong
    """
    params = read_all(read_params(path), path)
    values: dict[str, Any] = {}
    for name in ORDER:
        section = getattr(params, name)
        entries = {name: section} if name in SINGLE else section
        dumped = {key: entry.model_dump(mode="json", exclude_defaults=changed) for key, entry in entries.items()}
        values[name] = dumped[name] if name in SINGLE else dumped
    return write_yaml(CommentedMap(values))
