"""A trained expert on disk: models/<name>/, read by fine-tuning, prediction and the embedding stage.

==================== =================================================================================================
settings.json        all that the network is built from, labels and attributes in order, the encoder's checkpoint
adapter.safetensors  what of the encoder was trained: LoRA's matrices, or with method full its weights and buffers;
                     absent where it was frozen
head.safetensors     layer weights, pooling and head, batch norm's statistics included
==================== =================================================================================================

Both tensor files are what ``state_dict`` calls them, sorted; nothing that is loaded can run code. The same expert gives
the same bytes, and settings.json holds the SHA-256 of all of them. The encoder's own checkpoint is not copied.
"""

import copy
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pipeline_lib import sealed, whole
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.labels import GENDERS
from pipeline_lib.networks import pooling
from pipeline_lib.networks.adapters import attach, in_float32
from pipeline_lib.networks.heads import DenseHead
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.network import Network, SequenceClassificationNetwork
from pipeline_lib.networks.settings import NetworkSettings
from pipeline_lib.settings import Settings

FORMAT_VERSION = 1
_ENCODER = "encoder."


class ExpertSettings(Settings):
    """All that a network is built from.

    ``attribute_scale`` is the corpus's; ``attribute_range`` what the network was trained on: signed is [-1, 1], unit is
    [0, 1]. ``gender`` adds the auxiliary output. ``seed`` is of the weights that no checkpoint gives.
    """

    modality: Literal["audio", "text"]
    encoder: EncoderSettings
    network: NetworkSettings
    labels: list[str]
    attributes: list[str]
    attribute_scale: Annotated[list[float], Field(min_length=2, max_length=2)]
    attribute_range: Literal["signed", "unit"]
    gender: bool = False
    seed: int


def build(settings: ExpertSettings, device: torch.device) -> Network | SequenceClassificationNetwork:
    """Return an untrained network in eval mode; the same settings give the same weights.

    Raises:
        InputError: the checkpoint cannot be had, or an option does not fit it
    """
    encoder = (load_speech if settings.modality == "audio" else load_text)(settings.encoder, device)
    torch.manual_seed(settings.seed)
    encoder.model = attach(encoder.model, settings.network.adaptation)
    n_labels, n_attributes = len(settings.labels), len(settings.attributes)
    if settings.network.head.kind == "sequence_classification":
        n_outputs = n_labels + n_attributes + (len(GENDERS) if settings.gender else 0)
        classifier = _classifier(encoder, n_outputs, settings.encoder.checkpoint)
        return SequenceClassificationNetwork(encoder, classifier, n_labels, n_attributes).to(device).eval()
    weights = LayerWeights(encoder.n_layers + 1) if settings.network.layers == "weighted" else None
    pooled = pooling.build(settings.network.pooling, encoder.width)
    head = settings.network.head
    dense = DenseHead(pooled.width, head.width, n_labels, n_attributes, head.dropout, settings.gender)
    return Network(encoder, weights, pooled, dense).to(device).eval()


def save_expert(folder: Path, network: nn.Module, settings: ExpertSettings) -> None:
    """Write the expert through a temporary folder; a reader sees all of it or nothing."""
    temporary = whole.aside(folder)
    temporary.mkdir()
    said = {"format_version": FORMAT_VERSION, **settings.model_dump()}
    adapter, head = trained_state(network)
    tensors = {"adapter.safetensors": adapter, "head.safetensors": head}
    contents = {name: save(each) for name, each in tensors.items() if each}
    for name, content in contents.items():
        whole.write(temporary / name, content)
    whole.write(temporary / "settings.json", sealed.dumps(said, contents, indent=2, sort_keys=True) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def read_settings(folder: Path) -> ExpertSettings:
    """Return what an expert on disk says of itself.

    Raises:
        InputError: there is none, or another version of this code wrote it
    """
    return _read_settings(folder)[0]


def _read_settings(folder: Path) -> tuple[ExpertSettings, dict[str, str]]:
    path = folder / "settings.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist; the stage finetuning writes it (dvc repro)")
    said, digests = sealed.read(path, required=False)
    version = said.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads {FORMAT_VERSION}; train the expert again"
        )
    return ExpertSettings.parse(said, folder.name, path), digests


def load(folder: Path, device: torch.device) -> Network | SequenceClassificationNetwork:
    """Return the expert's network in eval mode, through ``merge``; it predicts to the bit what the saved one does.

    Raises:
        InputError: a file is missing or damaged, or does not fit the encoder's checkpoint
    """
    settings, digests = _read_settings(folder)
    network = build(settings, device)
    adapter, head = trained_state(network)
    found = {}
    for name, wanted in (("adapter", adapter), ("head", head)):
        path = folder / f"{name}.safetensors"
        tensors = _read(path) if wanted else {}
        if tensors.keys() != wanted.keys() or any(tensors[key].shape != wanted[key].shape for key in wanted):
            odd = sorted(tensors.keys() ^ wanted.keys()) or [k for k in wanted if tensors[k].shape != wanted[k].shape]
            raise InputError(
                f"{path} does not fit its settings.json at {odd[0]!r} (was the encoder's checkpoint replaced?)"
            )
        if wanted:
            sealed.check(path, digests.get(path.name))
        found |= {(_ENCODER if name == "adapter" else "") + key: tensor for key, tensor in tensors.items()}
    network.load_state_dict(found, strict=False)
    return merge(network)


def load_encoder(folder: Path, device: torch.device) -> SpeechEncoder | TextEncoder:
    """Return the expert's encoder alone, in eval mode, through ``merge``."""
    return load(folder, device).encoder.requires_grad_(False).eval()


def merge(network: Network | SequenceClassificationNetwork) -> Network | SequenceClassificationNetwork:
    """Return the network with LoRA's updates added into its weights: a third less work, the same but for rounding.

    Not where weights are in bfloat16 or 4 bit, whose rounding would swallow the updates: there they stay beside them.
    """
    if not hasattr(network.encoder.model, "merge_and_unload"):
        return network
    if not in_float32(network.encoder.model):
        print("LoRA stays beside the encoder's weights, which merging would round", file=sys.stderr)
    else:
        network.encoder.model = network.encoder.model.merge_and_unload()
        if isinstance(network, SequenceClassificationNetwork):
            network.attach()
    return network


def trained_names(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that take gradients."""
    return frozenset(name for name, each in network.named_parameters() if each.requires_grad)


def trained_state(
    network: nn.Module, names: frozenset[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what training changes: of the encoder, and of everything else; sorted, on the CPU, each its own memory.

    Buffers of an encoder trained in full belong to it (batch norm's statistics); with LoRA they do not change.

    Args:
        network: in training or not
        names: the trained parameters; None for those that take gradients now
    """
    names = trained_names(network) if names is None else names
    parameters = {name for name, _ in network.named_parameters()}
    full = any(name.startswith(_ENCODER) for name in names) and not any("lora_" in name for name in names)
    adapter, head = {}, {}
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith(_ENCODER):
            head[name] = tensor.detach().cpu().clone().contiguous()
        elif name in names or (full and name not in parameters):
            adapter[name.removeprefix(_ENCODER)] = tensor.detach().cpu().clone().contiguous()
    return adapter, head


def _classifier(encoder: TextEncoder, n_outputs: int, checkpoint: str) -> nn.Module:
    """Return transformers' own classification class around the encoder's model, its linear layers untrained.

    It is made on the meta device, so that the backbone's weights are never in memory twice. Linear layers begin as
    transformers begins them: normal with the configuration's initializer_range, biases 0.
    """
    from transformers import AutoModelForSequenceClassification

    if encoder.kind == "bert":
        raise InputError(
            f"BERT's classification class reads a pooler that {checkpoint!r} comes without; set head.kind to dense"
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


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train the expert again (dvc repro)") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; train the expert again") from None
