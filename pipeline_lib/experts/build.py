"""Networks built from the settings of an expert; ``experts.disk`` stores both on disk.

The encoders' part of a network's state has names that begin with ``encoder.branches.<modality>.``, each branch by
itself frozen, trained in full or with LoRA.
"""

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.encoders.branches import BranchEncoder
from pipeline_lib.encoders.device import precision_of
from pipeline_lib.encoders.load import LOADERS, Encoder
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.labels import GENDERS
from pipeline_lib.modalities import combinations_of
from pipeline_lib.networks import heads, pooling
from pipeline_lib.networks.adapters import attach, in_float32
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.mixers import build as mixers
from pipeline_lib.networks.network import SHARED, Network
from pipeline_lib.networks.sequence_classification import SequenceClassificationNetwork

ENCODER = "encoder."
AnyNetwork = Network | SequenceClassificationNetwork


def assemble(settings: ExpertSettings, device: torch.device, taken: Mapping[str, Encoder] | None = None) -> AnyNetwork:
    """Return an untrained network in eval mode; the same settings give the same weights.

    Args:
        settings: the expert's
        device: where the network runs
        taken: encoders of trained experts by modality, for the branches that name one

    Raises:
        InputError: the checkpoint is not available, or an option does not fit it
    """
    branches = _encoders(settings, device, taken or {})
    torch.manual_seed(settings.seed)
    for name, branch in settings.branches.items():
        if hasattr(branches[name].model, "merge_and_unload") and branch.adaptation.method != "frozen":
            raise InputError(
                f"branches.{name}: the encoder of {branch.expert} has LoRA beside weights that are not in float32 and"
                f" cannot be trained further; set branches.{name}.adaptation.method to frozen"
            )
        branches[name].model = attach(branches[name].model, branch.adaptation)
    encoder = BranchEncoder(branches, settings.rounded)
    if settings.head.kind == "sequence_classification":
        network: AnyNetwork = _sequence_classification(settings, encoder)
    else:
        network = _network(settings, branches, encoder)
    return network.to(device).eval()


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


def encoders_of(network: Any) -> dict[str, Encoder]:
    """Return the network's encoders by the prefix of their parameters' names."""
    return {f"{ENCODER}branches.{name}.": branch for name, branch in network.encoder.branches.items()}


def precision(network: AnyNetwork, products: torch.dtype | None = None) -> str:
    """Return the precision of the encoders' forward passes; layers on top of them are in float32 in any case.

    Args:
        network: an expert's
        products: of the training's autocast, which encoders that are rounded to float16 leave; None without

    Returns:
        see ``precision_of``; where the encoders differ, by modality: "audio float32 + text nf4"
    """
    exact = network.encoder.rounded
    values = {
        name: precision_of(encoder.model, None if name in exact else products)
        for name, encoder in network.encoder.branches.items()
    }
    first = next(iter(values.values()))
    return first if {*values.values()} == {first} else " + ".join(f"{name} {value}" for name, value in values.items())


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


def _encoders(settings: ExpertSettings, device: torch.device, taken: Mapping[str, Encoder]) -> dict[str, Encoder]:
    branches: dict[str, Encoder] = {}
    for name, branch in settings.branches.items():
        if branch.encoder is not None:
            branches[name] = LOADERS[name](branch.encoder, device)
            continue
        branches[name] = encoder = taken[name]
        if isinstance(encoder, SpeechEncoder):
            encoder.disable_regularisation()  # masks and layer drop were that expert's
    return branches


def _network(settings: ExpertSettings, branches: Mapping[str, Encoder], encoder: BranchEncoder) -> Network:
    widths = {name: branch.width for name, branch in branches.items()}
    weighted = [name for name, branch in settings.branches.items() if branch.layers == "weighted"]
    join: Any
    if settings.mixer is not None:
        join = mixers.build(settings.mixer, widths)
    elif settings.pooling is not None:
        (width,) = widths.values()
        join = pooling.build(settings.pooling, width)
    else:
        raise ValueError("an expert has neither pooling nor mixer")  # its settings refuse that
    combinations = [SHARED] if settings.heads == "shared" else combinations_of(branches)
    sizes = len(settings.labels), len(settings.attributes)
    auxiliary = {"gender": settings.gender, "sentiment": settings.sentiment}
    return Network(
        encoder,
        {name: LayerWeights(branches[name].n_layers + 1) for name in weighted},
        join,
        {name: heads.build(settings.head, join.width, *sizes, **auxiliary) for name in combinations},
    )


def _sequence_classification(settings: ExpertSettings, encoder: BranchEncoder) -> SequenceClassificationNetwork:
    ((name, branch),) = encoder.branches.items()
    if not isinstance(branch, TextEncoder):
        raise InputError(f"head.kind is 'sequence_classification', which is for text, the branch is {name!r}")
    n_labels, n_attributes = len(settings.labels), len(settings.attributes)
    n_outputs = n_labels + n_attributes + (len(GENDERS) if settings.gender else 0)
    return SequenceClassificationNetwork(encoder, _classifier(branch, n_outputs), n_labels, n_attributes)


def _classifier(encoder: TextEncoder, n_outputs: int) -> nn.Module:
    """Return transformers' own classification class around the encoder's model, its linear layers untrained.

    It is built on the meta device, so that the backbone's weights are never in memory twice. Linear layers are
    initialised as in transformers: normal with the configuration's initializer_range, biases 0.
    """
    from transformers import AutoModelForSequenceClassification

    if encoder.kind == "bert":
        raise InputError(
            f"BERT's classification class reads a pooler, which {encoder.checkpoint!r} does not have; set head.kind to"
            " dense"
        )
    config = copy.deepcopy(encoder.model.config)
    config.num_labels, config.pad_token_id, config.use_cache = n_outputs, encoder.prepare.padding, False
    try:
        with torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    except ValueError:
        raise InputError(
            f"transformers has no sequence classification for {encoder.checkpoint!r}; set head.kind to dense"
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
