"""What an expert is: the settings that are saved with it, and all that its weights depend on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import pipeline_lib.encoders
import pipeline_lib.finetuning
import pipeline_lib.networks
from pipeline_lib import batch_losses, expert_network, experts, losses
from pipeline_lib.expert_network import AnyNetwork, Encoder, ExpertBranch, ExpertSettings, JointSettings
from pipeline_lib.finetuning.augmentation.sounds import Sounds
from pipeline_lib.finetuning.data import Targets
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.shards import store
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest


def expert_settings(settings: FinetuningSettings, targets: Targets) -> ExpertSettings:
    """Return what the expert's network is built from."""
    joint = None
    if settings.is_joint:
        branches = {
            name: ExpertBranch(**branch.model_dump(exclude={"embedding"})) for name, branch in settings.branches.items()
        }
        joint = JointSettings(branches=branches, mixer=settings.mixer, heads=settings.heads, head=settings.head)
    return ExpertSettings(
        modality=settings.modality,
        encoder=settings.encoder,
        network=None if settings.is_joint else settings.network,
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
    """Return the settings with the commits that the encoders were loaded at."""
    if built.joint is None:
        return built.model_copy(update={"encoder": _pinned(built.encoder, network.encoder)})
    branches = {
        name: branch.model_copy(update={"encoder": _pinned(branch.encoder, network.encoder.branches[name])})
        for name, branch in built.joint.branches.items()
    }
    return built.model_copy(update={"joint": built.joint.model_copy(update={"branches": branches})})


def _pinned(settings: EncoderSettings | None, encoder: Encoder) -> EncoderSettings | None:
    return None if settings is None else settings.model_copy(update={"revision": encoder.revision})


def identity(
    settings: FinetuningSettings,
    corpus: Manifest,
    targets: Targets,
    texts: Sequence[str | None] | None,
    augmenting: Sounds,
) -> tuple[object, ...]:
    """Return all that the trained weights depend on; of sounds for augmentation names and sizes stand for contents."""
    attributes = np.nan_to_num(targets.attributes, nan=-9.0).tolist()
    trained = (targets.soft, targets.gender, targets.sentiment)
    further = [None if values is None else values.tolist() for values in trained]
    columns = [corpus.frame[name].tolist() for name in ("utterance_id", "split")]
    sounds = [] if settings.modality == "text" else segments.content(corpus)
    parts = (pipeline_lib.finetuning, pipeline_lib.networks, pipeline_lib.encoders)
    modules = (losses, batch_losses, experts, expert_network, segments)
    return (
        settings.model_dump(exclude={"reads"}),
        [store.file_digest(path) if path.is_dir() else None for path in map(Path, _folders(settings))],
        store.code_digest(*parts, *modules),
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
    """Return what the encoders are loaded from, and the embeddings that are read in their place."""
    if settings.branches is None:
        return [settings.encoder.checkpoint]
    branches = [branch for _, branch in settings.branches.items()]
    loaded = [branch.expert or branch.encoder.checkpoint for branch in branches]
    return loaded + [branch.embedding for branch in branches if branch.embedding is not None]
