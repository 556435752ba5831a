"""Train one expert on a corpus, save it, and let it predict every utterance."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline_lib.experts import availability, disk
from pipeline_lib.experts.build import encoders_of, merge
from pipeline_lib.experts.predict import Expert, predict
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.experts.utterances import Utterances, from_manifest
from pipeline_lib.finetuning import checkpoints, frame_cache, identity, optimisation
from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import NoLogs, logs, parameter_table, print_line, write_curve
from pipeline_lib.finetuning.processes import accelerator_of
from pipeline_lib.finetuning.targets import check_data, targets_of
from pipeline_lib.finetuning.train import Training
from pipeline_lib.modalities import BOTH, parts_of
from pipeline_lib.networks.network import Network
from pipeline_lib.networks.sequence_classification import is_trained
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.shards import store
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import dialogues, folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import Origin, join
from pipeline_lib.tables.predictions import Predictions

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
    fold: tuple[int, int] | None = None,
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
        alone: folder for the predictions from each combination of some modalities, ``audio.parquet`` and so on; where
            there are none, of a file that states so, as DVC warns of an empty folder
        machine: how the work is done
        fold: number from 0 and how many there are, where ``corpus`` is the view of one fold; None without folds

    Returns:
        None in all processes but the main one

    Raises:
        InputError: the corpus lacks what the settings name, the checkpoint cannot be loaded, memory ran out, or the
            loss is not finite
    """
    context, built = _begun(name, settings, corpus, root, transcripts, work, machine, fold)
    state = _trained(context)
    if not context.accelerator.is_main_process:
        return None
    write_curve(curve, state.history)
    trained = _saved(context, built, state, expert)
    context = replace(context, utterances=frame_cache.for_prediction(context))
    if alone is not None:
        _predict_alone(context, trained, alone)
    return _predictions(context, trained, BOTH), context.folder


def work_folder(work: Path, name: str, digest: str, fold: tuple[int, int] | None = None) -> Path:
    """Return the folder of a training's unfinished work.

    Args:
        work: of all experts
        name: of the expert
        digest: fingerprint of all that the training depends on
        fold: number from 0 and how many there are, None without folds
    """
    return work / name / digest if fold is None else work / name / folds.name_of(fold[0]) / digest


def discard(folder: Path) -> None:
    """Remove checkpoints and shards of a training whose outputs are in place; its logs stay."""
    checkpoints.discard(folder)
    store.discard(folder / "predictions")


def _begun(
    name: str,
    settings: FinetuningSettings,
    corpus: Manifest,
    root: Path,
    transcripts: Sequence[str] | None,
    work: Path,
    machine: FinetuningMachine,
    fold: tuple[int, int] | None,
) -> tuple[TrainingContext, ExpertSettings]:
    """Return a training at its beginning, without logs, and the settings that its network was built from."""
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    utterances = from_manifest(corpus, root, tuple(settings.branches), transcripts, settings.text, settings.context)
    targets = targets_of(corpus, settings)
    train, dev = check_data(corpus, targets, settings, utterances)
    augmenting = sounds.find(settings.augmentation)
    digest = fingerprint(*identity.identity(settings, corpus, targets, utterances, augmenting))
    accelerator = accelerator_of(settings, machine.device)
    built = identity.expert_settings(settings, targets)
    network = _network(settings, built, accelerator.device)
    context = TrainingContext(
        name=name,
        network=network,
        settings=settings,
        utterances=utterances.fitted(network.encoder.branches),
        targets=targets,
        classes=targets.classes,
        train=train,
        dev=dev,
        accelerator=accelerator,
        folder=work_folder(work, name, digest, fold),
        logs=NoLogs(),
        augment=_augmentation(settings, augmenting, network, show_progress=accelerator.is_main_process),
        machine=machine,
        fold=fold,
    )
    _print_beginning(context, corpus)
    _cache_parts(context, corpus)
    return replace(context, utterances=frame_cache.with_frames(context)), built


def _trained(context: TrainingContext) -> State:
    """Train to the last phase's best weights, with logs of the main process, and return where training stands."""
    with logs(context.folder / "logs", enabled=context.accelerator.is_main_process) as opened:
        training = Training(replace(context, logs=opened))
        training.run()
    return training.state


def _saved(context: TrainingContext, built: ExpertSettings, state: State, folder: Path) -> Expert:
    """Save the expert and return it, merged."""
    origin = Origin(join(state.devices), join(state.precisions))
    prior = _prior(context, state.best_epoch - 1)
    saved = identity.as_trained(built, context.network, prior, origin, context.targets.read)
    disk.save_expert(folder, context.network, saved)
    return Expert(folder, saved, merge(context.network))


def _network(settings: FinetuningSettings, built: ExpertSettings, device: torch.device) -> nn.Module:
    network = disk.build(built, device)
    if isinstance(network, Network):
        network.modality_dropout = settings.modality_dropout
    if settings.gradient_checkpointing:
        for encoder in filter(is_trained, encoders_of(network).values()):
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    return network


def _print_beginning(context: TrainingContext, corpus: Manifest) -> None:
    """Print what is trained on, what of it is missing, and the parameters."""
    if not context.accelerator.is_main_process:
        return
    split, title, utterances = corpus.frame["split"], context.title, context.utterances
    counts = f"{len(context.train)} of {(split == 'train').sum()} utterances of train to train on"
    counts += f", {len(context.dev)} of {(split == 'dev').sum()} of dev to stop by"
    lines = availability.presence_lines(utterances.present, utterances.modalities)
    lines += [] if not utterances.context else [_context_line(utterances)]
    counts += "".join(f"\n{title}: {line}" for line in lines)
    print(f"{title}: {counts}\n{parameter_table(context.network)}", flush=True)


def _context_line(utterances: Utterances) -> str:
    """Return a line that counts the previous turns of the utterances that have a text."""
    parts = [part for part in utterances.read.readers["text"].parts if part is not None]
    return dialogues.describe([part[:-1] for part in parts], utterances.context)


def _cache_parts(context: TrainingContext, corpus: Manifest) -> None:
    """Cache decoded audio where it fits; a limit of 0 caches none."""
    utterances, limit_gb = context.utterances, context.machine.cache_audio_gb
    rows = np.union1d(context.train, context.dev)
    for i, reader in enumerate(utterances.read.readers.values()):
        if limit_gb and not reader.cache(rows[utterances.present[rows, i]], limit_gb):
            print_line(f"{corpus.corpus} does not fit into cache_audio_gb {limit_gb:g}; decoding as it is needed")


def _augmentation(
    settings: FinetuningSettings, augmenting: Sounds, network: nn.Module, *, show_progress: bool
) -> augment.Augmentation | None:
    if not settings.augmentation.is_on:
        return None
    shortest = network.encoder.minimum_samples
    return augment.make(settings.augmentation, augmenting, settings.seed, shortest, show_progress=show_progress)


def _prior(context: TrainingContext, epoch: int) -> np.ndarray | None:
    """Return the class prior that the posterior contains after that epoch of the last phase."""
    *_, last = context.settings.phases.values()
    if not context.targets.labels:
        return None
    return optimisation.training_prior(
        context.counts, last, context.settings.losses_of(last), epoch, context.soft_counts
    )


def _predictions(context: TrainingContext, expert: Expert, combination: str) -> Predictions:
    """Return the predictions of every utterance that has any of the modalities."""
    return predict(
        expert,
        context.utterances,
        batch_size=context.settings.predict.batch_size,
        machine=context.machine,
        folder=context.folder / "predictions",
        combination=combination,
        name=context.name,
        from_frames=bool(context.utterances.read.frames),
    )


def _predict_alone(context: TrainingContext, expert: Expert, alone: Path) -> None:
    """Write the predictions from each combination of some modalities, through a temporary folder; or a note."""
    utterances = context.utterances
    with atomic.replace_folder(alone) as temporary:
        for combination in parts_of(utterances.modalities):
            if availability.shows(utterances.present, utterances.modalities, combination).any():
                predictions.write(temporary / f"{combination}.parquet", _predictions(context, expert, combination))
        if not any(temporary.iterdir()):
            note = "no expert of several modalities, or no utterance with one of them alone\n"
            (temporary / NONE_ALONE).write_text(note)
