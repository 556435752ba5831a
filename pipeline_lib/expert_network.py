"""Settings of a trained expert and the network that is built from them; ``experts`` stores both on disk.

The encoder's part of a network's state has names that begin with ``encoder.``; of a joint expert
``encoder.branches.<modality>.``, each branch by itself frozen, trained in full or with LoRA.
"""

import copy
import sys
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline_lib.encoders.branches import JointEncoder
from pipeline_lib.encoders.device import precision_of
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.labels import GENDERS
from pipeline_lib.networks import heads, pooling
from pipeline_lib.networks.adapters import attach, in_float32
from pipeline_lib.networks.joint import BOTH, SHARED, JointNetwork
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.mixers import build as mixers
from pipeline_lib.networks.network import Network, SequenceClassificationNetwork
from pipeline_lib.params.base import Settings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, MixerSettings, NetworkSettings

ENCODER = "encoder."
Encoder = SpeechEncoder | TextEncoder
AnyNetwork = Network | SequenceClassificationNetwork | JointNetwork


class ExpertBranch(Settings):
    """One modality's encoder: a checkpoint, or that of a trained expert, given by its folder."""

    encoder: EncoderSettings | None
    expert: str | None
    layers: Literal["last", "weighted"]
    adaptation: AdaptationSettings


class JointSettings(Settings):
    """Branches, mixer and heads of a joint expert, instead of one encoder and its network."""

    branches: dict[Literal["audio", "text"], ExpertBranch]
    mixer: MixerSettings
    heads: Literal["shared", "separate"]
    head: HeadSettings


class ExpertSettings(Settings):
    """All that a network is built from.

    ``attribute_scale`` is the corpus's; ``attribute_range`` that of the network's targets: signed is [-1, 1], unit is
    [0, 1]. ``gender`` and ``sentiment`` add auxiliary outputs. ``seed`` initialises the weights that no checkpoint
    gives. ``encoder`` and ``network`` are of an audio or text expert, ``joint`` of one that reads both. ``device`` and
    ``precision`` are those that it was trained with, for information; None in files of older code.
    """

    modality: Literal["audio", "text", "joint"]
    encoder: EncoderSettings | None = None
    network: NetworkSettings | None = None
    joint: JointSettings | None = None
    labels: list[str]
    attributes: list[str]
    attribute_scale: Annotated[list[float], Field(min_length=2, max_length=2)]
    attribute_range: Literal["signed", "unit"]
    gender: bool = False
    sentiment: bool = False
    seed: int
    device: str | None = None
    precision: str | None = None


def assemble(settings: ExpertSettings, device: torch.device, taken: Mapping[str, Encoder] | None = None) -> AnyNetwork:
    """Return an untrained network in eval mode; the same settings give the same weights.

    Args:
        settings: the expert's
        device: where the network runs
        taken: encoders of trained experts by modality, for the branches that name one

    Raises:
        InputError: the checkpoint is not available, an option does not fit it, or the settings lack an encoder
    """
    if settings.joint is not None:
        return _joint(settings, settings.joint, device, taken or {}).to(device).eval()
    if settings.encoder is None or settings.network is None:
        raise InputError(
            f"the settings of an expert of modality {settings.modality!r} have no encoder or no network, expected both"
            " (is settings.json edited?); train the expert again"
        )
    encoder = (load_speech if settings.modality == "audio" else load_text)(settings.encoder, device)
    torch.manual_seed(settings.seed)
    encoder.model = attach(encoder.model, settings.network.adaptation)
    if settings.network.head.kind == "sequence_classification":
        n_labels, n_attributes = len(settings.labels), len(settings.attributes)
        n_outputs = n_labels + n_attributes + (len(GENDERS) if settings.gender else 0)
        classifier = _classifier(encoder, n_outputs, settings.encoder.checkpoint)
        return SequenceClassificationNetwork(encoder, classifier, n_labels, n_attributes).to(device).eval()
    weights = LayerWeights(encoder.n_layers + 1) if settings.network.layers == "weighted" else None
    pooled = pooling.build(settings.network.pooling, encoder.width)
    head = _head(settings, settings.network.head, pooled.width)
    return Network(encoder, weights, pooled, head).to(device).eval()


def merge(network: AnyNetwork) -> AnyNetwork:
    """Merge LoRA's updates into the network's weights: a third less work, the same outputs but for rounding.

    Weights in bfloat16 or 4 bit are not merged, whose rounding would lose the updates.
    """
    for encoder in encoders_of(network).values():
        if not hasattr(encoder.model, "merge_and_unload"):
            continue
        if not in_float32(encoder.model):
            print("LoRA stays beside the encoder's weights, which merging would round", file=sys.stderr)
            continue
        encoder.model = encoder.model.merge_and_unload()
        if isinstance(network, SequenceClassificationNetwork):
            network.attach()
    return network


def encoders_of(network: AnyNetwork) -> dict[str, Encoder]:
    """Return the network's encoders by the prefix of their parameters' names."""
    if isinstance(network, JointNetwork):
        return {f"{ENCODER}branches.{name}.": branch for name, branch in network.encoder.branches.items()}
    return {ENCODER: network.encoder}


def precision(network: AnyNetwork, products: torch.dtype | None = None) -> str:
    """Return the precision of the encoders' forward passes; layers on top of them are in float32 in any case.

    Args:
        network: an expert's
        products: of the training's autocast, which a joint expert's frozen encoders leave; None without

    Returns:
        see ``precision_of``; where a joint expert's encoders differ, by modality: "audio float32 + text nf4"
    """
    exact = network.encoder.rounded if isinstance(network, JointNetwork) else frozenset()
    names = {prefix.rstrip(".").split(".")[-1]: encoder for prefix, encoder in encoders_of(network).items()}
    each = {n: precision_of(e.model, None if n in exact else products) for n, e in names.items()}
    first = next(iter(each.values()))
    return first if {*each.values()} == {first} else " + ".join(f"{name} {value}" for name, value in each.items())


def trained_names(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that take gradients."""
    return frozenset(name for name, parameter in network.named_parameters() if parameter.requires_grad)


def trained_state(
    network: nn.Module, names: frozenset[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state that training changes: that of the encoders, and that of all other modules.

    Buffers of an encoder trained in full belong to it (batch norm's statistics); with LoRA they do not change.

    Args:
        network: in training mode or not
        names: the trained parameters; None for those that take gradients now

    Returns:
        by name, sorted, copies on the CPU, of the shapes of ``state_dict``; encoders' names without ``encoder.``
    """
    names = trained_names(network) if names is None else names
    parameters = {name for name, _ in network.named_parameters()}
    full = tuple(prefix for prefix in encoders_of(network) if _is_full(prefix, names))
    adapter, head = {}, {}
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith(ENCODER):
            head[name] = tensor.detach().cpu().clone().contiguous()
        elif name in names or (name.startswith(full) and name not in parameters):
            adapter[name.removeprefix(ENCODER)] = tensor.detach().cpu().clone().contiguous()
    return adapter, head


def _is_full(prefix: str, names: frozenset[str]) -> bool:
    own = [name for name in names if name.startswith(prefix)]
    return bool(own) and not any("lora_" in name for name in own)


def _joint(
    settings: ExpertSettings, joint: JointSettings, device: torch.device, taken: Mapping[str, Encoder]
) -> JointNetwork:
    branches: dict[str, Encoder] = {}
    for name, branch in joint.branches.items():
        load = load_speech if name == "audio" else load_text
        if branch.expert is not None:
            branches[name] = taken[name]
            if name == "audio":
                branches[name].disable_regularisation()  # masks and layer drop were that expert's
        elif branch.encoder is not None:
            branches[name] = load(branch.encoder, device)
        else:
            raise InputError(f"branches.{name} has neither encoder nor expert, expected one of them")
    torch.manual_seed(settings.seed)
    for name, branch in joint.branches.items():
        if hasattr(branches[name].model, "merge_and_unload") and branch.adaptation.method != "frozen":
            raise InputError(
                f"branches.{name}: the encoder of {branch.expert} has LoRA beside weights that are not in float32 and"
                f" cannot be trained further; set branches.{name}.adaptation.method to frozen"
            )
        branches[name].model = attach(branches[name].model, branch.adaptation)
    frozen = [name for name, branch in joint.branches.items() if branch.adaptation.method == "frozen"]
    weighted = [name for name, branch in joint.branches.items() if branch.layers == "weighted"]
    mixer = mixers.build(joint.mixer, {name: branch.width for name, branch in branches.items()})
    combinations = (SHARED,) if joint.heads == "shared" else (*branches, BOTH)
    return JointNetwork(
        JointEncoder(branches, frozen),
        {name: LayerWeights(branches[name].n_layers + 1) for name in weighted},
        mixer,
        {name: _head(settings, joint.head, mixer.width) for name in combinations},
    )


def _head(settings: ExpertSettings, head: HeadSettings, width: int) -> nn.Module:
    sizes = len(settings.labels), len(settings.attributes)
    return heads.build(head, width, *sizes, gender=settings.gender, sentiment=settings.sentiment)


def _classifier(encoder: TextEncoder, n_outputs: int, checkpoint: str) -> nn.Module:
    """Return transformers' own classification class around the encoder's model, its linear layers untrained.

    It is built on the meta device, so that the backbone's weights are never in memory twice. Linear layers are
    initialised as in transformers: normal with the configuration's initializer_range, biases 0.
    """
    from transformers import AutoModelForSequenceClassification

    if encoder.kind == "bert":
        raise InputError(
            f"BERT's classification class reads a pooler, which {checkpoint!r} does not have; set head.kind to dense"
        )
    config = copy.deepcopy(encoder.model.config)
    config.num_labels, config.pad_token_id, config.use_cache = n_outputs, encoder.prepare.padding, False
    try:
        with torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    except ValueError:
        raise InputError(
            f"transformers has no sequence classification for {checkpoint!r}; set head.kind to dense"
        ) from None
    setattr(classifier, classifier.base_model_prefix, encoder.model)
    for name, part in classifier.named_children():
        if name != classifier.base_model_prefix:
            part.to_empty(device="cpu")
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=config.initializer_range)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
    return classifier
