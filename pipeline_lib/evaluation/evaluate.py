"""Collect another corpus, apply the project's system to it, score it on the labels in common, and write the page."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline_lib.corpus.collect import READERS, Collected, collect
from pipeline_lib.errors import InputError
from pipeline_lib.evaluation.corpus import section
from pipeline_lib.evaluation.labels import Common, common, read_pairs
from pipeline_lib.evaluation.page import page
from pipeline_lib.evaluation.score import over_common, scores
from pipeline_lib.fusion import model
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.system import CROSSFITTED, apply
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.base import PARAMS, read_params
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.scoring.contamination import contamination, used_checkpoints
from pipeline_lib.scoring.splits import is_resubstitution
from pipeline_lib.scoring.systems import align
from pipeline_lib.scoring.tuning import cautions_of_tuning
from pipeline_lib.storage import atomic
from pipeline_lib.tables import manifest as manifests
from pipeline_lib.tables import predictions
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.tables.predictions import Predictions

NAME = re.compile(r"[A-Za-z0-9_-]+")


def evaluate(
    target: Path,
    *,
    project: Path = Path(),
    reader: str | None = None,
    root: Path | None = None,
    names: str | None = None,
    merged: str | None = None,
    split: str | None = None,
    name: str | None = None,
    out: Path = Path("metrics/evaluation"),
) -> None:
    """Write ``out/<name>.md`` and ``.json``; corpus and tables are in ``work/evaluate/<name>`` of the project.

    Args:
        target: folder or table of the corpus, or a params.yaml
        project: folder of the trained system
        reader: of the corpus, None: recognised
        root: folder of a table's recordings, None for the table's
        names: its emotions and the system's labels, ``anger=angry,joy=happiness``
        merged: labels of the system that count as others of it, ``calm=neutral``
        split: split or subset of the corpus to score, None for all of it
        name: of the page, None for the corpus's
        out: folder of the page

    Raises:
        InputError: the corpus or the system cannot be read, a label is unknown, or too few are in common
    """
    system, settings = Project.read(project), section(target, reader, root)
    pairs, sums = read_pairs(names, "--map"), read_pairs(merged, "--merge")
    collected = _collected(settings, pairs, system)
    name = _name(name, collected.manifest.corpus)
    folder = system.work / "evaluate" / name
    manifests.write(folder / "manifest.parquet", collected.manifest)
    manifests.write_quarantine(folder / "quarantine.parquet", collected.quarantine)
    chosen = collected.manifest if split is None else keep(collected.manifest, collected.manifest.mask(split))
    labels = _labels_of(system)
    emotions = [emotion if isinstance(emotion, str) else None for emotion in chosen.frame["emotion"]]
    shared = common(emotions, labels, pairs, sums)
    print(shared.sentence())
    notes = [*collected.notices, *_cautions(system, chosen, settings)]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    systems = _applied(project, chosen, folder, Path(settings.root))
    options = system.params.scoring.intervals
    result: dict[str, Any] = {
        "system": system.params.corpus.name or system.params.corpus.reader,
        "corpus": collected.manifest.corpus,
        "notice": collected.manifest.notice,
        "split": split,
        "labels": list(shared.labels),
        "names": dict(shared.names),
        "merged": dict(shared.merged),
        "left_out": dict(shared.left_out),
        "unlabelled": shared.unlabelled,
        "intervals": options.model_dump(),
        "notes": notes,
        **scores(over_common(chosen, shared), systems, shared, options),
        "own": _own(system, shared),
    }
    atomic.write_file(out / f"{name}.json", json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    atomic.write_file(out / f"{name}.md", page(result, shared.sentence()))
    print(f"{out / name}.md is written")


def _applied(project: Path, manifest: Manifest, folder: Path, root: Path) -> dict[str, Predictions]:
    """Return the tables of the project's systems that have labels; attributes, which are not scored, are printed."""
    tables = {name: predictions.read(path) for name, path in apply(project, manifest, folder, root).items()}
    attributes = sorted({attribute for table in tables.values() for attribute in table.attribute_names})
    if attributes:
        print(f"{', '.join(attributes)}: predicted, in the tables of {folder}, and not scored; labels alone are")
    return {name: table for name, table in tables.items() if table.posterior is not None}


def _collected(settings: CorpusSettings, names: Mapping[str, str], system: Project) -> Collected:
    """Return the corpus, uncut, emotions as they are where ``--map`` names them."""
    if settings.merge is None and settings.reader != "several":
        merge = {old: new for old, new in READERS[settings.reader].CUSTOM.merge.items() if old not in names}
        settings = settings.model_copy(update={"merge": merge})
    return collect(settings, system.machine.corpus.workers, cut=False)


def _name(name: str | None, corpus: str) -> str:
    """Return the name of the page: letters, digits, _ and -."""
    chosen = re.sub(r"[^A-Za-z0-9_-]+", "_", corpus) if name is None else name
    if not NAME.fullmatch(chosen):
        raise InputError(f"--name is {name!r}, expected letters, digits, _ and -: it becomes the name of a file")
    return chosen


def _labels_of(system: Project) -> tuple[str, ...]:
    """Return the labels of the project's fusion."""
    folder = system.models / "fusion"
    fitted = model.read(folder / name_of(0) if system.n_folds else folder)
    if not fitted.labels:
        raise InputError(f"{folder} has no labels: the system predicts attributes alone, expected one of categories")
    return tuple(label for label in fitted.labels if label not in PSEUDO)


def _cautions(system: Project, manifest: Manifest, settings: CorpusSettings) -> list[str]:
    """Return what makes the score another than that of an unseen corpus."""
    cautions = []
    params = read_params(system.folder / PARAMS)
    contaminated = contamination(used_checkpoints(params), [manifest.corpus, settings.reader])
    cautions += [*cautions_of_tuning(params), *contaminated.warnings, *contaminated.notes]
    own = system.folder / "data" / "manifest.parquet"
    if own.is_file():
        known = {*manifests.read(own).frame["audio_sha256"].dropna()}
        repeated = int(manifest.frame["audio_sha256"].isin(known).sum())
        if repeated:
            cautions.append(
                f"{repeated} of {len(manifest)} recordings are in the corpus that the system was trained on: their"
                " scores hold for known recordings"
            )
    normalised = [
        name
        for name, entry in system.params.rebalancing.items()
        if entry.normalise == "speaker" or (entry.source is not None and entry.source.normalise == "speaker")
    ]
    if normalised:
        cautions.append(
            f"{', '.join(normalised)} normalise by speaker: the unlabelled recordings of the scored speakers are used"
        )
    return cautions


def _own(system: Project, shared: Common) -> dict[str, Any]:
    """Return the system's scores on its own corpus over the labels in common, or why there are none.

    Scored is ``scoring.plotted_split``, of folds out of fold; rows of which something was fitted there are left out.
    """
    settings, path = system.params.scoring, system.folder / "data" / "manifest.parquet"
    if not path.is_file():
        return {"reason": f"{path} is not there"}
    own = manifests.read(path)
    of_own = replace(shared, names={label: shared.merged.get(label, label) for label in own.labels})
    of_own = replace(of_own, names={one: other for one, other in of_own.names.items() if other in shared.labels})
    inside = own.mask(settings.plotted_split)
    systems: dict[str, Predictions] = {}
    for name, table in settings.tables.items():
        if table == CROSSFITTED or not (system.folder / table).is_file():
            continue
        read = predictions.read(system.folder / table)
        if read.posterior is not None and not is_resubstitution(own, align(name, Path(table), read, own), inside):
            systems[name] = read
    scored = scores(over_common(keep(own, inside), of_own), systems, of_own, settings.intervals)
    return {"split": settings.plotted_split, "corpus": own.corpus, **scored}
