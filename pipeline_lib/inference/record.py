"""Record of what the tables of an application were computed from, so that a second run computes none of them again."""

from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.storage.fingerprint import file_digest

NAME = "inputs.json"


class Record:
    """``inputs.json`` beside the tables: of each its inputs' fingerprint and its own SHA-256.

    Args:
        folder: of the tables
    """

    def __init__(self, folder: Path) -> None:
        """Read the record of an earlier run; a damaged one counts as none."""
        self._folder = folder
        try:
            self._known, _ = checksummed_json.read(folder / NAME)
        except (FileNotFoundError, InputError):
            self._known = {}

    def has(self, table: str, inputs: str) -> bool:
        """Return whether a table is there, whole, and of these inputs.

        Args:
            table: path relative to the folder
            inputs: fingerprint
        """
        path = self._folder / table
        return path.is_file() and self._known.get(table) == [inputs, file_digest(path)]

    def add(self, table: str, inputs: str) -> None:
        """Note a table that was just written.

        Args:
            table: path relative to the folder
            inputs: fingerprint
        """
        self._known[table] = [inputs, file_digest(self._folder / table)]
        atomic.write_file(self._folder / NAME, checksummed_json.dumps(self._known, indent=1, sort_keys=True) + "\n")
