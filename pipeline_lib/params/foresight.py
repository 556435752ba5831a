"""What a later stage would refuse, listed before anything runs: columns of a table, layers, names of splits, rates."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.corpus import WITH_DIALOGUES, table_path
from pipeline_lib.params.mistakes import choose, nearest
from pipeline_lib.params.named_splits import TEST, named, on_test
from pipeline_lib.params.rebalancing import EMBEDDINGS
from pipeline_lib.params.sections import Params

SPLITS = ("train", "dev", "test", "unlabelled", "dev_filt", "dev_bal", "folds")
NUMBERED = re.compile(r"test\d+|fold\d+(_dev|_dev_filt|_dev_bal)?")
LEARNING_RATES = (1e-8, 0.1)  # of Adam and AdamW: below nothing moves, above nothing converges
LARGEST_TABLE = 32 << 20  # bytes that are read for the names of a table's own subsets, in about half a second


def wrong_table(params: Params) -> list[str]:
    """Return, a line each, what the entries need of the corpus's table and its header lacks.

    A header that cannot be read, or of one column, is left to the corpus stage, which says why.
    """
    header = _header(params) if params.corpus.reader == "table" else []
    if len(header) < 2:
        return []
    table = f"{Path(params.corpus.root) / params.corpus.table.file} has no column"
    return [
        f"{table} {name!r}, which {why}; expected it among {header}{_column(name, header)}"
        for name, why in _needed(params, header)
    ]


def _column(name: str, header: list[str]) -> str:
    """Return cause and fix for a column that the header lacks."""
    near = nearest(name, header)
    if near is None:
        return f" (a column of another name?); rename the one that holds it to {name!r}, or change what reads it"
    return f" (misspelt as {near!r}?); rename it to {name!r}"


def unknown_splits(params: Params) -> list[str]:
    """Return, a line each, the splits and subsets that are named and that no corpus has.

    The subsets of a table are read where it has the column ``subsets`` and at most ``LARGEST_TABLE`` bytes.
    """
    own: set[str] | None = set()
    if params.corpus.reader == "table":
        own = _subsets(params)
    if own is None:
        return []
    known = [*SPLITS, *sorted({*own, *params.corpus.corpora} - {*SPLITS})]
    return [
        f"{each.where} names {each.name!r}, which is no split and no subset, expected one of {known} or test2,"
        " fold0 ..."
        f"{choose(each.name, known, ' (a split of another corpus?); name one of these')}"
        for each in named(_values(params))
        if each.name not in known and not NUMBERED.fullmatch(each.name)
    ]


def tuned_on_test(params: Params) -> list[str]:
    """Return, a line each, the keys that name a test split where something is fitted or chosen."""
    return [
        on_test(each)
        for each in named(_values(params))
        if each.is_tuned_on and not each.may_be_test and each.name.startswith(TEST)
    ]


def _values(params: Params) -> dict[str, Any]:
    """Return the sections that name splits, with their defaults."""
    entries = {name: entry.model_dump() for name, entry in params.rebalancing.items()}
    return {"scoring": params.scoring.model_dump(), "fusion": params.fusion.model_dump(), "rebalancing": entries}


def _needed(params: Params, header: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each column that is absent and needed, and by what."""
    readers = [(f"embedding.{name}", e.modality == "text", e.text) for name, e in params.embedding.items()]
    readers += [(f"finetuning.{name}", "text" in e.branches, e.text) for name, e in params.finetuning.items()]
    human = [
        f"{where} with text: reference" for where, reads_text, text in readers if reads_text and text == "reference"
    ]
    if params.transcription.engine == "reference" and params.transcription.reference.missing == "refuse":
        human.append("transcription with engine: reference")
    if contexts := [f"{where}.context" for where, context in _with_context(params) if context]:
        yield from ((name, f"is read by {', '.join(contexts)}") for name in ("dialogue", "turn") if name not in header)
    if human and "reference_text" not in header:
        yield "reference_text", f"is read by {', '.join(human)}"
    of_audio = [f"embedding.{name}" for name, each in params.embedding.items() if each.modality == "audio"]
    of_audio += [f"finetuning.{name}" for name, each in params.finetuning.items() if [*each.branches] == ["audio"]]
    if "audio" not in header:
        if of_audio:
            yield "audio", f"is read by {', '.join(of_audio)}"
        elif not {"utterance_id", "reference_text"} <= {*header}:
            yield "audio", "every corpus of recordings has"
    yield from _needed_to_split(params, header)
    if not {"emotion", *ATTRIBUTES} & {*header}:
        yield "emotion", f"a corpus has, or one of {', '.join(ATTRIBUTES)}"
        return
    for name, expert in params.finetuning.items():
        if expert.targets.emotion and "emotion" not in header:
            yield "emotion", f"is trained by finetuning.{name}.targets.emotion"
        for attribute in expert.targets.attributes:
            if attribute not in header:
                yield attribute, f"is trained by finetuning.{name}.targets.attributes"


def _needed_to_split(params: Params, header: list[str]) -> Iterator[tuple[str, str]]:
    split = params.corpus.split
    column = split.column if split.method == "column" else "split"
    if split.method in ("official", "column") and column not in header:
        yield column, f"corpus.split.method {split.method} reads"
    if "speaker" not in header and (split.method == "speakers" or (split.method is None and "split" not in header)):
        instead = "a column 'split', or corpus.split.method: random with corpus.allow_speaker_leak: true"
        yield "speaker", f"the draw by speaker needs; or give {instead}"


def _header(params: Params) -> list[str]:
    """Return the names of the table's columns that are read, [] where they cannot be."""
    try:
        path = table_path(params.corpus)
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            names = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                names = [name.strip() for name in next(csv.reader([file.readline(1 << 20)]), [])]
    except (InputError, OSError, ValueError, csv.Error):
        return []
    return [name for name in names if name not in params.corpus.table.ignore]


def _subsets(params: Params) -> set[str] | None:
    """Return the names in the table's column ``subsets``, None where they are not known."""
    header = _header(params)
    if not header or "subsets" not in header:
        return set()
    path = table_path(params.corpus)
    if path.suffix.lower() == ".parquet" or path.stat().st_size > LARGEST_TABLE:
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = {row.get("subsets") or "" for row in csv.DictReader(file)}
    except (OSError, ValueError, csv.Error):
        return None
    return {name.strip() for cell in cells for name in cell.split(";") if name.strip()}


def _layers(params: Params) -> list[str]:
    """Return the layers beyond those of an encoder in a local folder; 0 is what enters its first block."""
    depths = {name: _depth(params, name) for name in params.embedding}
    mistakes = [
        f"embedding.{name}.layers is {entry.layers}, and its encoder has layers 0 to {depth}"
        for name, entry in params.embedding.items()
        if (depth := depths[name]) is not None and not isinstance(entry.layers, str) and max(entry.layers) > depth
    ]
    mistakes += [
        f"rebalancing.{name}.source.layers is {entry.source.layers}, and the encoder of {entry.reads.source} has layers"
        f" 0 to {depth}"
        for name, entry in params.rebalancing.items()
        if entry.source is not None
        and not isinstance(entry.source.layers, str)
        and (depth := depths.get(entry.reads.source.removeprefix(EMBEDDINGS))) is not None
        and max(entry.source.layers) > depth
    ]
    return mistakes


def _depth(params: Params, name: str) -> int | None:
    """Return how many layers an embedding's encoder has, None where no config.json on this machine tells."""
    encoder = params.embedding[name].encoder
    if encoder is None:
        return None
    try:
        config = json.loads((Path(encoder.checkpoint) / "config.json").read_text(encoding="utf-8"))
        depth = int(config.get("encoder_layers") or config["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return depth if encoder.layers_kept is None else min(depth, encoder.layers_kept)


def _epochs(params: Params) -> list[str]:
    return [
        f"finetuning.{name}.early_stopping.every is {expert.early_stopping.every}, and its phases have {epochs} epochs"
        f" in all; expected at most {epochs}"
        " (more than are trained?); lower it, or train longer"
        for name, expert in params.finetuning.items()
        if expert.early_stopping.every > (epochs := sum(phase.epochs for phase in expert.phases.values()))
    ]


def _rates(params: Params) -> list[str]:
    low, high = LEARNING_RATES
    return [
        f"finetuning.{name}.phases.{phase}.{key} is {rate:g}, expected between {low:g} and {high:g}"
        f" (a power of ten, or a minus in the exponent?); write it as 1e-4 for example"
        for name, expert in params.finetuning.items()
        for phase, settings in expert.phases.items()
        for key in ("learning_rate", "head_learning_rate")
        if (rate := getattr(settings, key)) is not None and not low <= rate <= high
    ]


def _contexts(params: Params) -> list[str]:
    """Return the entries that read previous turns where no reader of the corpus, or of several corpora, gives any."""
    corpora = params.corpus.corpora
    readers = sorted({part.reader for part in corpora.values()} if corpora else {params.corpus.reader})
    return [
        f"{where}.context is {context}, and the corpora of reader {' and '.join(readers)} have no dialogues; expected"
        f" 0, or one of the readers {list(WITH_DIALOGUES)}"
        for where, context in _with_context(params)
        if context and not {*readers} & {*WITH_DIALOGUES}
    ]


def _with_context(params: Params) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and the context of every entry of embedding and finetuning."""
    yield from ((f"embedding.{name}", entry.context) for name, entry in params.embedding.items())
    yield from ((f"finetuning.{name}", expert.context) for name, expert in params.finetuning.items())


# each returns, a line each, values that no run can use, as far as params.yaml and local checkpoints tell
WRONG_VALUES = (_layers, _epochs, _rates, _contexts)
