"""Networks of a recipe's experts with random weights, of all their blocks or of the first ones."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline_lib.encoders import speech
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.build import encoders_of
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.finetuning.identity import expert_settings
from pipeline_lib.finetuning.targets import Targets
from pipeline_lib.labels import PRIMARY, PSEUDO
from pipeline_lib.metrics.attributes import RANGES
from pipeline_lib.networks.sequence_classification import is_trained
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.rehearsal import published

SCALE = (1.0, 7.0)  # of MSP-Podcast's attributes


@dataclass(frozen=True)
class Architecture:
    """One encoder without its weights.

    Attributes:
        settings: as params.yaml has them
        config: transformers' configuration
        blocks: transformer blocks that run
    """

    settings: EncoderSettings
    config: object
    blocks: int

    @classmethod
    def of(cls, settings: EncoderSettings) -> "Architecture":
        """Return the architecture of a checkpoint.

        Raises:
            InputError: neither is its size known nor is it a folder with a config.json
        """
        config = published.configuration(settings.checkpoint)
        blocks = published.blocks(config)
        return cls(settings, config, min(blocks, settings.layers_kept or blocks))

    @property
    def is_countable_without_values(self) -> bool:
        """Whether its forward pass reads no value of a tensor, so that shapes alone suffice."""
        return self.config.model_type in (*speech.FILTERBANK, *published.TEXT)  # type: ignore[attr-defined]

    def laid_down(self, folder: Path, blocks: int) -> EncoderSettings:
        """Return the settings of a folder without weights, which is written.

        Args:
            folder: which is made
            blocks: that are built, the first ones
        """
        published.lay_down(self.settings.checkpoint, folder, blocks)
        changes = {"checkpoint": str(folder), "revision": None, "pretrained": False, "layers_kept": None}
        return self.settings.model_copy(update=changes)


def architectures(expert: FinetuningSettings, params: Params) -> dict[str, Architecture]:
    """Return the encoders of an expert by modality; one that is taken from another expert is that one's.

    Args:
        expert: the entry
        params: all sections

    Raises:
        InputError: the sizes of a checkpoint are not known
    """
    trained = {f"models/{name}": entry for name, entry in params.finetuning.items()}
    result = {}
    for modality, branch in expert.branches.items():
        while branch.encoder is None:
            origin = trained.get(str(branch.expert))
            if origin is None:
                raise InputError(f"{branch.expert} is trained by no entry of finetuning; expected one that is")
            branch = origin.branches[modality]
        result[modality] = Architecture.of(branch.encoder)
    return result


def labels_of(expert: FinetuningSettings, params: Params) -> tuple[str, ...]:
    """Return the labels that an expert is trained on.

    Args:
        expert: the entry
        params: all sections
    """
    if not expert.targets.emotion:
        return ()
    return (*(params.corpus.labels or PRIMARY), *(PSEUDO if expert.targets.pseudo_labels else ()))


def settings_of(
    expert: FinetuningSettings, labels: tuple[str, ...], encoders: Mapping[str, EncoderSettings]
) -> ExpertSettings:
    """Return the settings that the network is built from.

    Args:
        expert: the entry
        labels: that it is trained on
        encoders: by modality, in place of those that the entry names
    """
    names = tuple(expert.targets.attributes)
    targets = Targets(
        labels=labels,
        n_scored=len(labels),
        emotion=np.zeros(0, np.int64),
        attribute_names=names,
        attributes=np.zeros((0, len(names)), np.float32),
        scale=SCALE,
        range=RANGES[expert.targets.attribute_range],
    )
    made = expert_settings(expert, targets)
    branches = {
        name: branch.model_copy(update={"encoder": encoders[name], "expert": None})
        for name, branch in made.branches.items()
    }
    return made.model_copy(update={"branches": branches})


def build(settings: ExpertSettings, expert: FinetuningSettings, device: torch.device) -> nn.Module:
    """Return the network in training mode, as fine-tuning builds it.

    Args:
        settings: see ``settings_of``
        expert: the entry
        device: where it is; on the meta device it has no weights
    """
    with device if device.type == "meta" else nullcontext():  # else what prepares inputs would be on the GPU
        network = disk.build(settings, device)
    if expert.gradient_checkpointing:
        for encoder in filter(is_trained, encoders_of(network).values()):
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    return network.train()
