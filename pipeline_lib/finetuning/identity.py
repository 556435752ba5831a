"""Identity of an expert: the settings that are saved with it, and all that its weights depend on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pipeline_lib.encoders
import pipeline_lib.finetuning
import pipeline_lib.networks
from pipeline_lib import batch_losses, losses
from pipeline_lib.experts import build, disk
from pipeline_lib.experts.build import AnyNetwork, Encoder, ExpertBranch, ExpertSettings, JointSettings
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.targets import Targets
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.network import MixerSettings, NetworkSettings
from pipeline_lib.storage.fingerprint import code_digest, file_digest
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest


def expert_settings(settings: FinetuningSettings, targets: Targets) -> ExpertSettings:
    """Return the settings that the expert's network is built from.

    Args:
        settings: the entry
        targets: give labels, attributes and scale
    """
    encoder = network = joint = None
    if isinstance(settings.join, MixerSettings):
        branches: Any = {name: _expert_branch(branch) for name, branch in settings.branches.items()}
        joint = JointSettings(branches=branches, mixer=settings.join, heads=settings.heads, head=settings.head)
    else:
        (branch,) = settings.branches.values()
        encoder, layers, adaptation = branch.encoder, branch.layers, branch.adaptation
        network = NetworkSettings(layers=layers, adaptation=adaptation, pooling=settings.join, head=settings.head)
    modality: Any = settings.modality
    return ExpertSettings(
        modality=modality,
        encoder=encoder,
        network=network,
        joint=joint,
        labels=list(targets.labels),
        attributes=list(targets.attribute_names),
        attribute_scale=list(targets.scale),
        attribute_range=settings.targets.attribute_range,
        gender=settings.targets.gender,
        sentiment=settings.targets.sentiment.enabled,
        seed=settings.seed,
    )


def with_revisions(built: ExpertSettings, network: AnyNetwork) -> ExpertSettings:
    """Return the settings with the commits that the encoders were loaded at.

    Args:
        built: settings that the network was built from
        network: with its encoders
    """
    if built.joint is None:
        return built.model_copy(update={"encoder": _pinned(built.encoder, network.encoder)})
    branches = {
        name: branch.model_copy(update={"encoder": _pinned(branch.encoder, network.encoder.branches[name])})
        for name, branch in built.joint.branches.items()
    }
    return built.model_copy(update={"joint": built.joint.model_copy(update={"branches": branches})})


def _expert_branch(branch: BranchSettings) -> ExpertBranch:
    return ExpertBranch(**branch.model_dump(exclude={"embedding"}))


def _pinned(settings: EncoderSettings | None, encoder: Encoder) -> EncoderSettings | None:
    return None if settings is None else settings.model_copy(update={"revision": encoder.revision})


def identity(
    settings: FinetuningSettings,
    corpus: Manifest,
    targets: Targets,
    texts: Sequence[str | None] | None,
    augmenting: Sounds,
) -> tuple[object, ...]:
    """Return all that the trained weights depend on; of sounds for augmentation names and sizes stand for contents.

    Args:
        settings: the entry
        corpus: the manifest
        targets: of its rows
        texts: of its rows, None of an audio expert
        augmenting: recordings that augmentation draws from

    Returns:
        parts of a fingerprint
    """
    attributes = np.nan_to_num(targets.attributes, nan=-9.0).tolist()
    trained = (targets.soft, targets.gender, targets.sentiment)
    further = [None if values is None else values.tolist() for values in trained]
    columns = [corpus.frame[name].tolist() for name in ("utterance_id", "split")]
    sounds = [] if settings.modality == "text" else segments.content(corpus)
    parts = (pipeline_lib.finetuning, pipeline_lib.networks, pipeline_lib.encoders)
    modules = (losses, batch_losses, disk, build, segments)
    return (
        settings.model_dump(exclude={"reads"}),
        [file_digest(path) if path.is_dir() else None for path in map(Path, _folders(settings))],
        code_digest(*parts, *modules),
        torch.__version__,
        [
            *columns,
            sounds,
            texts,
            targets.labels,
            targets.emotion.tolist(),
            corpus.truth().tolist(),
            attributes,
            further,
        ],
        augmenting.identity,
    )


def _folders(settings: FinetuningSettings) -> list[str]:
    """Return checkpoints and folders of the encoders, and the embeddings that are read in their place."""
    branches = list(settings.branches.values())
    loaded: list[str] = []
    for branch in branches:
        if branch.expert:
            loaded.append(branch.expert)
        elif branch.encoder is not None:
            loaded.append(branch.encoder.checkpoint)
    return loaded + [branch.embedding for branch in branches if branch.embedding is not None]
