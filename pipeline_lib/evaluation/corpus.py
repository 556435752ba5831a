"""The corpus to evaluate on: a folder or table, or the section ``corpus`` of another params.yaml."""

from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.start.inspect import inspect

PARAMS = (".yaml", ".yml")


def section(target: Path, reader: str | None, root: Path | None) -> CorpusSettings:
    """Return how the corpus is read.

    Args:
        target: folder or table of the corpus, or a params.yaml, whose paths start from its own folder
        reader: as in ``corpus.reader``; None: recognised as ``ser start`` does
        root: folder of the recordings of a table, None for its own

    Raises:
        InputError: nothing is there, the reader does not exist, or the corpus has to be laid out first
    """
    if target.suffix.lower() in PARAMS:
        settings = CorpusSettings.read("corpus", target)
        return settings.model_copy(update={"root": str(target.parent / settings.root)})
    values: dict[str, object]
    if reader is None:
        seen = inspect(target, root, {})
        if seen.text is not None:
            raise InputError(
                f"{target} is no table that is read as it is; run `ser start {target}` in another clone, and evaluate"
                " on the params.yaml that it writes, or give --reader"
            )
        values = {"reader": seen.reader, "root": str(seen.root), **seen.settings}
        values.pop("labels", None)  # those with enough utterances to train on
    elif target.is_dir():
        values = {"reader": reader, "root": str(target)}
    elif target.is_file() and reader == "table":
        folder = target.parent if root is None else root
        if not target.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{target} does not lie below --root {folder}; expected a table below the root")
        file = target.resolve().relative_to(folder.resolve()).as_posix()
        values = {"reader": reader, "root": str(folder), "table": {"file": file}}
    else:
        expected = "a folder" if target.exists() else "the folder or the table of a corpus"
        raise InputError(f"{target} {'is a file' if target.exists() else 'does not exist'}, expected {expected}")
    return CorpusSettings.parse(values, "corpus", target)
