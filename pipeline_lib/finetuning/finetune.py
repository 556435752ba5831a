"""Train one expert on a corpus, save it, and let it predict every utterance."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from pipeline_lib import experts
from pipeline_lib.expert_network import (
    AnyNetwork,
    encoders_of,
)
from pipeline_lib.finetuning import checkpoints, combinations, data, frame_cache, identity, optimisation
from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import logs, parameter_table, print_line
from pipeline_lib.finetuning.predict import predict
from pipeline_lib.finetuning.processes import accelerator_of
from pipeline_lib.finetuning.readers import Pairs, Reader, Recordings, Texts
from pipeline_lib.finetuning.train import Training
from pipeline_lib.networks.network import is_trained
from pipeline_lib.params.branches import Combination
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.shards import store
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import predictions, segments
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import Origin, join
from pipeline_lib.tables.predictions import Predictions

SCORES = ("loss", "macro_f1", "ua", "mean_ccc", "gender_accuracy")

NONE_ALONE = "none.txt"


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
    alone: Path | None = None,
    machine: FinetuningMachine = FINETUNING,
) -> tuple[Predictions, Path] | None:
    """Train, save the expert and its training curve, and return its predictions and the folder to discard afterwards.

    Args:
        name: of the expert
        settings: its entry
        corpus: the manifest
        root: of the corpus's audio
        transcripts: ASR transcripts in the manifest's order, None where there are none
        expert: folder to save it in
        curve: file of the training curve
        work: folder of unfinished work; a run that was killed goes on from there
        alone: folder for a joint expert's predictions from one modality alone, ``audio.parquet`` and ``text.parquet``;
            of others it holds a file that states so, as DVC warns of an empty folder
        machine: how the work is done

    Returns:
        None in all processes but the main one

    Raises:
        InputError: the corpus lacks what the settings name, the checkpoint cannot be loaded, memory ran out, or the
            loss is not finite
    """
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    targets = data.targets_of(corpus, settings)
    texts = data.texts_of(corpus, transcripts, settings)
    present = combinations.present(corpus, texts, settings)
    train, dev = data.check_data(corpus, targets, settings, present)
    augmenting = sounds.find(settings.augmentation)
    accelerator = accelerator_of(settings, machine.device)
    built = identity.expert_settings(settings, targets)
    network = experts.build(built, accelerator.device)
    if settings.gradient_checkpointing:
        for encoder in filter(is_trained, encoders_of(network).values()):
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    folder = work / name / fingerprint(*identity.identity(settings, corpus, targets, texts, augmenting))
    if accelerator.is_main_process:
        split = corpus.frame["split"]
        counts = f"{len(train)} of {(split == 'train').sum()} utterances of train to train on"
        counts += f", {len(dev)} of {(split == 'dev').sum()} of dev to stop by"
        counts += "".join(f"\n{name}: {line}" for line in combinations.presence_lines(present, settings.modality))
        print(f"{name}: {counts}\n{parameter_table(network)}", flush=True)
    with logs(folder / "logs", enabled=accelerator.is_main_process) as opened:
        context = TrainingContext(
            name=name,
            network=network,
            settings=settings,
            targets=targets,
            classes=data.classes_of(corpus, targets),
            lengths=data.lengths_of(corpus, texts, settings),
            present=present,
            train=train,
            dev=dev,
            read=_reader(settings, corpus, root, texts, network, np.union1d(train, dev), machine.cache_audio_gb),
            accelerator=accelerator,
            folder=folder,
            logs=opened,
            augment=_augmentation(settings, augmenting, network, show_progress=accelerator.is_main_process),
            machine=machine,
        )
        if settings.is_joint:
            context = replace(context, read=frame_cache.cached_reader(context, corpus.ids))
        training = Training(context)
        history = training.run()
    if not accelerator.is_main_process:
        return None
    origin = Origin(join(training.state.devices), join(training.state.precisions))
    saved = identity.with_revisions(built, network).model_copy(update=asdict(origin))
    experts.save_expert(expert, network, saved)
    write_curve(curve, history)
    experts.merge(network)
    prior = _prior(context, training.state.best_epoch - 1)
    result = _predictions(context, corpus, expert, prior, "both")
    if alone is not None:
        _predict_alone(context, corpus, expert, prior, alone)
    return result, folder


def _predict_alone(
    context: TrainingContext, corpus: Manifest, expert: Path, prior: np.ndarray | None, alone: Path
) -> None:
    """Write what a joint expert says from each modality alone, through a temporary folder; of others a note."""
    with atomic.replace_folder(alone) as temporary:
        for shown in ("audio", "text") if context.settings.is_joint else ():
            if combinations.shows(context.present, shown).any():
                found = _predictions(context, corpus, expert, prior, shown)
                predictions.write(temporary / f"{shown}.parquet", found)
        if not any(temporary.iterdir()):
            note = "no expert of several modalities, or no utterance with one of them alone\n"
            (temporary / NONE_ALONE).write_text(note)


def _prior(context: TrainingContext, epoch: int) -> np.ndarray | None:
    """Return the class prior that the posterior contains after that epoch of the last phase."""
    *_, last = context.settings.phases.values()
    if not context.targets.labels:
        return None
    return optimisation.training_prior(
        context.counts, last, context.settings.losses_of(last), epoch, context.soft_counts
    )


def _predictions(
    context: TrainingContext, corpus: Manifest, expert: Path, prior: np.ndarray | None, modalities: Combination
) -> Predictions:
    """Return the predictions of every utterance that has any of the modalities."""
    rows = np.flatnonzero(context.present.any(axis=1))
    return predict(
        context.name,
        context.network,
        context.settings,
        expert=expert,
        ids=corpus.ids,
        rows=rows,
        lengths=context.lengths,
        read=context.read,
        targets=context.targets,
        prior=prior,
        folder=context.folder / "predictions",
        modalities=modalities,
        has_modalities=combinations.shows(context.present[rows], modalities),
        machine=context.machine,
    )


def discard(folder: Path) -> None:
    """Remove checkpoints and shards of a training whose outputs are in place; its logs stay."""
    checkpoints.discard(folder)
    store.discard(folder / "predictions")


def write_curve(path: Path, history: list[dict]) -> None:
    """Write the training curve, a row an epoch; ``nan`` where an epoch was not measured, which ``dvc plots`` skips.

    Args:
        path: of the CSV file
        history: rows of ``State.history``, one an epoch and split
    """
    columns = [f"{split}_{name}" for split in ("train", "dev") for name in SCORES]
    epochs: dict[int, dict] = {}
    for row in history:
        scores = {f"{row['split']}_{name}": row[name] for name in SCORES if name in row}
        epochs.setdefault(row["epoch"], {"epoch": row["epoch"], "phase": row["phase"]}).update(scores)
    columns = [column for column in columns if any(column in row for row in epochs.values())]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", "phase", *columns])
    for row in epochs.values():
        cells = (f"{row[name]:.6f}" if name in row else "nan" for name in columns)
        writer.writerow([row["epoch"], row["phase"], *cells])
    atomic.write_file(path, file.getvalue())


def _augmentation(
    settings: FinetuningSettings, augmenting: Sounds, network, *, show_progress: bool
) -> augment.Augmentation | None:
    if not settings.augmentation.is_on:
        return None
    shortest = network.encoder.minimum_samples
    return augment.make(settings.augmentation, augmenting, settings.seed, shortest, show_progress=show_progress)


def _reader(
    settings: FinetuningSettings,
    corpus: Manifest,
    root: Path,
    texts: Sequence[str | None] | None,
    network: AnyNetwork,
    rows: np.ndarray,
    cache_gb: float,
) -> Reader:
    if settings.modality == "text":
        return Texts(texts or [])
    recordings = Recordings(segments.of(corpus, root), network.encoder.minimum_samples)
    rows = rows[corpus.has_audio[rows]]
    seconds = corpus.frame["duration_s"].to_numpy(dtype=np.float64)
    if cache_gb and not recordings.cache(rows, seconds, cache_gb):
        print_line(f"{corpus.corpus} does not fit into cache_audio_gb {cache_gb:g}; decoding as it is needed")
    return Pairs(recordings, texts or []) if settings.is_joint else recordings
