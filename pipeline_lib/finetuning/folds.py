"""Train an expert fold by fold, and put together what the folds' experts predict.

Each fold is a training of its own on its view of the manifest, with the same settings and seed as a corpus whose splits
are laid down by hand would have; nothing of a training knows of the other folds. Its outputs lie whole in
``work/finetuning/<expert>/fold<k>/<fingerprint>/outputs`` until the last fold is trained (``fold_outputs``): a run that
was killed trains the others only. Then all are put together.
"""

import csv
import gc
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from pipeline_lib.errors import InputError
from pipeline_lib.experts import folds as saved
from pipeline_lib.experts.utterances import from_manifest
from pipeline_lib.finetuning import finetune as training
from pipeline_lib.finetuning import fold_outputs, identity
from pipeline_lib.finetuning.augmentation import sounds
from pipeline_lib.finetuning.fold_outputs import Fold
from pipeline_lib.finetuning.processes import accelerator_of
from pipeline_lib.finetuning.targets import check_data, targets_of
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

NO_FOLDS = "none.txt"


def finetune(
    name: str,
    settings: FinetuningSettings,
    corpus: Manifest,
    root: Path,
    transcripts: Sequence[str] | None,
    *,
    expert: Path,
    curve: Path,
    work: Path,
    alone: Path,
    tables: Path,
    machine: FinetuningMachine = FINETUNING,
) -> tuple[Predictions, list[Path]] | None:
    """Train an expert a fold, save them together, and return the predictions out of fold and the folders to discard.

    Args:
        name: of the expert
        settings: its entry
        corpus: the manifest, with folds
        root: of the corpus's audio
        transcripts: ASR transcripts in the manifest's order, None where there are none
        expert: folder to save the folds' experts in
        curve: file of the training curves, with a column ``fold``
        work: folder of unfinished work; a run that was killed goes on from there
        alone: folder for the predictions from each combination of some modalities, out of fold
        tables: folder for the predictions of each fold's expert
        machine: how the work is done

    Returns:
        None in all processes but the main one

    Raises:
        InputError: the corpus has no folds, a fold lacks what the settings name, the processes do not share ``work``,
            or a training is refused
    """
    parts = _parts(name, settings, corpus, root, transcripts, work)
    accelerator = accelerator_of(settings, machine.device)
    finished = fold_outputs.finished(accelerator, parts, work)
    for part in parts:
        if part.number in finished:
            if accelerator.is_main_process:
                print(f"{name}, fold {part.number + 1} of {part.count}: finished by an earlier run", flush=True)
            continue
        _train(part, name, root, transcripts, work, machine)
    if not accelerator.is_main_process:
        return None
    saved.save(expert, [part.outputs["expert"] for part in parts])
    _save_tables(tables, parts)
    _save_alone(alone, corpus, parts)
    atomic.write_file(curve, joined_curves({part.name: part.outputs["curve"].read_text() for part in parts}))
    result = folds.out_of_fold(corpus, [predictions.read(part.outputs["table"]) for part in parts])
    return result, [part.folder for part in parts]


def write_note(tables: Path) -> None:
    """Write into the folder of the folds' predictions that the expert has none, as DVC warns of an empty folder."""
    with atomic.replace_folder(tables) as temporary:
        (temporary / NO_FOLDS).write_text("no folds: the expert is trained on the split train\n")


def joined_curves(curves: Mapping[str, str]) -> str:
    """Return the training curves of all folds as one table, CSV; ``nan`` where a fold lacks a column.

    Args:
        curves: by the fold's name its training curve, CSV
    """
    tables = {name: list(csv.DictReader(io.StringIO(text))) for name, text in curves.items()}
    columns = list(dict.fromkeys(column for rows in tables.values() for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, ["fold", *columns], restval="nan", lineterminator="\n")
    writer.writeheader()
    for name, rows in tables.items():
        writer.writerows({"fold": name, **row} for row in rows)
    return file.getvalue()


def _parts(
    name: str,
    settings: FinetuningSettings,
    corpus: Manifest,
    root: Path,
    transcripts: Sequence[str] | None,
    work: Path,
) -> list[Fold]:
    """Return the folds' trainings, each checked before the first begins.

    Raises:
        InputError: the corpus has no folds, a fold lacks what the settings name, or folds train different labels
    """
    count = folds.required(corpus, f"finetuning.{name}.folds is true")
    augmenting, parts = sounds.find(settings.augmentation), []
    for number in range(count):
        view, own = folds.view(corpus, number), _of_fold(settings, name, number, count)
        utterances = from_manifest(view, root, tuple(own.branches), transcripts, own.text, own.context)
        targets = targets_of(view, own)
        try:
            check_data(view, targets, own, utterances)
        except InputError as error:
            raise InputError(f"{folds.name_of(number)}, trained on the other folds: {error}") from None
        digest = fingerprint(*identity.identity(own, view, targets, utterances, augmenting))
        folder = training.work_folder(work, name, digest, (number, count))
        parts.append(Fold(number, count, view, own, targets.labels, folder))
    first, *others = parts
    for part in others:
        if part.labels != first.labels:
            raise InputError(
                f"finetuning.{name}: {part.name} has training examples of {list(part.labels)}, {first.name} of"
                f" {list(first.labels)}, and their predictions are one table; set targets.pseudo_labels to false, or"
                " corpus.split.folds.k to fewer folds"
            )
    return parts


def _of_fold(settings: FinetuningSettings, name: str, number: int, count: int) -> FinetuningSettings:
    """Return the entry as a fold trains it: an encoder of an expert with folds is that of the same fold's expert.

    Raises:
        InputError: that expert has another number of folds, or is damaged
    """
    branches: dict[str, BranchSettings] = {}
    for modality, branch in settings.branches.items():
        experts = saved.experts_of(Path(branch.expert)) if branch.expert else []
        if experts and len(experts) != count:
            raise InputError(
                f"finetuning.{name}.branches.{modality}.expert: {branch.expert} has {len(experts)} folds, the corpus"
                f" has {count}; train it on this corpus (dvc repro)"
            )
        branches[modality] = branch.model_copy(update={"expert": str(experts[number])}) if experts else branch
    return settings if branches == settings.branches else settings.model_copy(update={"branches": branches})


def _train(
    part: Fold,
    name: str,
    root: Path,
    transcripts: Sequence[str] | None,
    work: Path,
    machine: FinetuningMachine,
) -> None:
    """Train a fold's expert; its outputs are whole when this returns, in every process."""
    outputs = part.outputs
    table = outputs.pop("table")
    done = training.finetune(
        name,
        part.settings,
        part.corpus,
        root,
        transcripts,
        work=work,
        machine=machine,
        fold=(part.number, part.count),
        **outputs,
    )
    if done is None:
        fold_outputs.wait_for(part.folder)
    else:
        predictions.write(table, done[0])
        fold_outputs.write_record(part.folder)
        training.discard(part.folder)
    del done
    gc.collect()  # networks lie in cycles: without this two of them would be in memory
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _save_tables(folder: Path, parts: Sequence[Fold]) -> None:
    with atomic.replace_folder(folder) as temporary:
        for part in parts:
            shutil.copyfile(part.outputs["table"], temporary / f"{part.name}.parquet")


def _save_alone(folder: Path, corpus: Manifest, parts: Sequence[Fold]) -> None:
    """Write the predictions from each combination of some modalities, out of fold; or the note that there are none."""
    with atomic.replace_folder(folder) as temporary:
        for path in sorted(parts[0].outputs["alone"].iterdir()):
            if path.name == training.NONE_ALONE:
                shutil.copyfile(path, temporary / path.name)
                continue
            tables = [predictions.read(part.outputs["alone"] / path.name) for part in parts]
            predictions.write(temporary / path.name, folds.out_of_fold(corpus, tables))
