"""Identity of an expert: the settings that are saved with it, and all that its weights depend on."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import pipeline_lib.encoders
import pipeline_lib.finetuning
import pipeline_lib.networks
from pipeline_lib import batch_losses, losses
from pipeline_lib.experts import build, disk, readers, utterances
from pipeline_lib.experts.build import AnyNetwork
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.targets import Targets
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.network import MixerSettings, PoolingSettings
from pipeline_lib.storage.fingerprint import code_digest, file_digest
from pipeline_lib.tables import dialogues, segments
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import Origin
from pipeline_lib.tables.provenance import NAMES, Provenance


def expert_settings(settings: FinetuningSettings, targets: Targets) -> ExpertSettings:
    """Return the settings that the expert's network is built from, and its predictions depend on; without a prior.

    Args:
        settings: the entry
        targets: give labels, attributes and scale
    """
    join = settings.join
    return ExpertSettings(
        branches={
            name: ExpertBranch(**branch.model_dump(exclude={"embedding"})) for name, branch in settings.branches.items()
        },
        pooling=join if isinstance(join, PoolingSettings) else None,
        mixer=join if isinstance(join, MixerSettings) else None,
        heads=settings.heads,
        head=settings.head,
        cache_embeddings=settings.cache_embeddings,
        labels=list(targets.labels),
        attributes=list(targets.attribute_names),
        attribute_scale=list(targets.scale),
        attribute_range=settings.targets.attribute_range,
        gender=settings.targets.gender,
        sentiment=settings.targets.sentiment.enabled,
        seed=settings.seed,
        max_s=settings.predict.max_s,
        text=settings.text,
        context=settings.context,
    )


def as_trained(
    built: ExpertSettings, network: AnyNetwork, prior: np.ndarray | None, origin: Origin, read: Provenance
) -> ExpertSettings:
    """Return the settings with the encoders' commits, the posterior's prior, device, precision and provenance.

    Args:
        built: settings that the network was built from
        network: with its encoders
        prior: of the labels, shape ``(n_labels,)``, None without labels
        origin: device and precision of the training
        read: splits whose labels the training read; those of experts that its encoders are from come on top
    """
    branches = {}
    for name, branch in built.branches.items():
        encoder = branch.encoder
        if encoder is not None:
            encoder = encoder.model_copy(update={"revision": network.encoder.branches[name].revision})
        branches[name] = branch.model_copy(update={"encoder": encoder})
    prior_values = None if prior is None else prior.tolist()
    before = [disk.read_settings(path).provenance(path.name) for path in disk.origins(built).values()]
    record = Provenance.joined([read, *before])
    lists = {name: list(getattr(record, name)) for name in NAMES}
    return built.model_copy(update={"branches": branches, "prior": prior_values, **asdict(origin), **lists})


def identity(
    settings: FinetuningSettings, corpus: Manifest, targets: Targets, read: Utterances, augmenting: Sounds
) -> tuple[object, ...]:
    """Return all that the trained weights depend on; of sounds for augmentation names and sizes stand for contents.

    Args:
        settings: the entry
        corpus: the manifest
        targets: of its rows
        read: its rows as the expert reads them
        augmenting: recordings that augmentation draws from

    Returns:
        parts of a fingerprint
    """
    attributes = np.nan_to_num(targets.attributes, nan=-9.0).tolist()
    trained = (targets.soft, targets.votes, targets.gender, targets.sentiment)
    further = [None if values is None else values.tolist() for values in trained]
    columns = [corpus.frame[name].tolist() for name in ("utterance_id", "split")]
    packages = (pipeline_lib.finetuning, pipeline_lib.networks, pipeline_lib.encoders)
    modules = (losses, batch_losses, disk, build, readers, utterances, segments, dialogues)
    return (
        settings.model_dump(exclude={"reads", "folds"}),
        [file_digest(path) if path.is_dir() else None for path in map(Path, _folders(settings))],
        code_digest(*packages, *modules),
        torch.__version__,
        [
            *columns,
            read.content,
            targets.labels,
            targets.emotion.tolist(),
            targets.classes.tolist(),
            attributes,
            further,
        ],
        augmenting.identity,
    )


def _folders(settings: FinetuningSettings) -> Sequence[str]:
    """Return checkpoints and folders of the encoders, and the embeddings that are read in their place."""
    loaded: list[str] = []
    for branch in settings.branches.values():
        if branch.expert:
            loaded.append(branch.expert)
        elif branch.encoder is not None:
            loaded.append(branch.encoder.checkpoint)
    return loaded + [branch.embedding for branch in settings.branches.values() if branch.embedding is not None]
