"""Train one expert on a corpus, save it, and let it predict every utterance."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import pipeline_lib.encoders
import pipeline_lib.finetuning
import pipeline_lib.networks
from pipeline_lib import experts, losses, whole
from pipeline_lib.audio import resolve_under
from pipeline_lib.experts import ExpertSettings
from pipeline_lib.finetuning import checkpoints, data, optimisation
from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.data import Read, Recordings, Targets, Texts
from pipeline_lib.finetuning.job import Job
from pipeline_lib.finetuning.logs import logs, parameter_table, say
from pipeline_lib.finetuning.predict import predict
from pipeline_lib.finetuning.processes import accelerator_of
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.finetuning.train import Training
from pipeline_lib.shards import store
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

SCORES = ("loss", "macro_f1", "ua", "mean_ccc", "gender_accuracy")


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
) -> tuple[Predictions, Path] | None:
    """Train, save the expert and its training curve, and return its predictions and the folder to discard afterwards.

    Args:
        name: of the expert
        settings: its entry
        corpus: the manifest
        root: of the corpus's audio
        transcripts: machine-heard texts in the manifest's order, None where there are none
        expert: folder to save it in
        curve: file of the training curve
        work: folder of unfinished work; a run that was killed goes on from there

    Returns:
        None in all processes but the main one

    Raises:
        InputError: the corpus lacks what the settings ask for, the checkpoint cannot be had, memory ran out, or the
            loss is not finite
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    targets = data.targets_of(corpus, settings)
    texts = data.texts_of(corpus, transcripts, settings)
    train, dev = data.check_data(corpus, targets, settings)
    augmenting = sounds.find(settings.augmentation)
    accelerator = accelerator_of(settings)
    built = _expert_settings(settings, targets)
    network = experts.build(built, accelerator.device)
    if settings.gradient_checkpointing:
        network.encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    folder = work / name / store.fingerprint(*_identity(settings, corpus, targets, texts, augmenting))
    if accelerator.is_main_process:
        counts = f"{len(train)} utterances to train on, {len(dev)} to stop by"
        print(f"{name}: {counts}\n{parameter_table(network)}", flush=True)
    with logs(folder / "logs", wanted=accelerator.is_main_process) as opened:
        job = Job(
            name=name,
            network=network,
            settings=settings,
            targets=targets,
            classes=data.classes_of(corpus, targets),
            lengths=_lengths(corpus, texts),
            train=train,
            dev=dev,
            read=_reader(settings, corpus, root, texts, network, np.union1d(train, dev)),
            accelerator=accelerator,
            folder=folder,
            logs=opened,
            augment=_augmentation(settings, augmenting, network, shown=accelerator.is_main_process),
        )
        training = Training(job)
        history = training.run()
    if not accelerator.is_main_process:
        return None
    revision = built.encoder.model_copy(update={"revision": network.encoder.revision})
    experts.save_expert(expert, network, built.model_copy(update={"encoder": revision}))
    write_curve(curve, history)
    return _predictions(job, corpus, training.state.best_epoch - 1, expert), folder


def _predictions(job: Job, corpus: Manifest, epoch: int, expert: Path) -> Predictions:
    """Return what the network, trained to that epoch of the last phase, says of every utterance that it can read."""
    *_, last = job.settings.phases.values()
    prior = None
    if job.targets.labels:
        prior = optimisation.trained_prior(job.counts, last, job.settings.losses_of(last), epoch, job.soft_counts)
    return predict(
        job.name,
        experts.merge(job.network),
        job.settings,
        expert=expert,
        ids=corpus.ids,
        rows=np.flatnonzero(data.usable_rows(corpus, job.settings)),
        lengths=job.lengths,
        read=job.read,
        targets=job.targets,
        prior=prior,
        folder=job.folder / "predictions",
    )


def discard(folder: Path) -> None:
    """Remove checkpoints and shards of a training whose outputs are in place; its logs stay."""
    checkpoints.discard(folder)
    store.discard(folder / "predictions")


def write_curve(path: Path, history: list[dict]) -> None:
    """Write the training curve, a row an epoch; ``nan`` where an epoch was not measured, which ``dvc plots`` skips."""
    columns = [f"{split}_{name}" for split in ("train", "dev") for name in SCORES]
    epochs: dict[int, dict] = {}
    for row in history:
        said = {f"{row['split']}_{name}": row[name] for name in SCORES if name in row}
        epochs.setdefault(row["epoch"], {"epoch": row["epoch"], "phase": row["phase"]}).update(said)
    columns = [column for column in columns if any(column in row for row in epochs.values())]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", "phase", *columns])
    for row in epochs.values():
        scores = (f"{row[name]:.6f}" if name in row else "nan" for name in columns)
        writer.writerow([row["epoch"], row["phase"], *scores])
    whole.write(path, file.getvalue())


def _expert_settings(settings: FinetuningSettings, targets: Targets) -> ExpertSettings:
    return ExpertSettings(
        modality=settings.modality,
        encoder=settings.encoder,
        network=settings.network,
        labels=list(targets.labels),
        attributes=list(targets.attribute_names),
        attribute_scale=list(targets.scale),
        attribute_range=settings.targets.attribute_range,
        gender=settings.targets.gender,
        seed=settings.seed,
    )


def _identity(
    settings: FinetuningSettings, corpus: Manifest, targets: Targets, texts: list[str] | None, augmenting: Sounds
) -> tuple[object, ...]:
    """Return all that the trained weights depend on; of sounds for augmentation names and sizes stand for contents."""
    idle = {"after", "workers", "save_steps", "save_seconds"}
    checkpoint = Path(settings.encoder.checkpoint)
    attributes = np.nan_to_num(targets.attributes, nan=-9.0).tolist()
    further = [None if each is None else each.tolist() for each in (targets.soft, targets.gender)]
    columns = [corpus.frame[name].tolist() for name in ("utterance_id", "split")]
    heard = corpus.frame["audio_sha256"].tolist() if texts is None else texts
    return (
        settings.model_dump(exclude={**dict.fromkeys(idle, True), "predict": {"executor"}}),
        store.file_digest(checkpoint) if checkpoint.is_dir() else None,
        store.code_digest(pipeline_lib.finetuning, pipeline_lib.networks, pipeline_lib.encoders, losses, experts),
        torch.__version__,
        [*columns, heard, targets.labels, targets.emotion.tolist(), corpus.truth().tolist(), attributes, further],
        augmenting.identity,
    )


def _augmentation(
    settings: FinetuningSettings, augmenting: Sounds, network, *, shown: bool
) -> augment.Augmentation | None:
    if not settings.augmentation.is_on:
        return None
    shortest = network.encoder.minimum_samples
    return augment.make(settings.augmentation, augmenting, settings.seed, shortest, shown=shown)


def _lengths(corpus: Manifest, texts: list[str] | None) -> np.ndarray:
    """Return seconds of audio, or characters of text."""
    if texts is None:
        return corpus.frame["duration_s"].to_numpy(dtype=np.float64)
    return np.array([len(text) for text in texts], dtype=np.float64)


def _reader(
    settings: FinetuningSettings, corpus: Manifest, root: Path, texts: list[str] | None, network, rows: np.ndarray
) -> Read:
    if texts is not None:
        return Texts(texts)
    paths = [root if audio is None else resolve_under(root, audio) for audio in corpus.frame["audio"]]
    recordings = Recordings(paths, network.encoder.minimum_samples)
    if settings.cache_audio_gb and not recordings.keep(rows, _lengths(corpus, None), settings.cache_audio_gb):
        say(f"{corpus.corpus} does not fit into cache_audio_gb {settings.cache_audio_gb:g}; decoding as it is needed")
    return recordings
