"""A trained expert on disk: models/<name>/, read by fine-tuning, prediction and the embedding stage.

==================== =================================================================================================
settings.json        all that the network is built from, labels and attributes in order, the encoders' checkpoints
adapter.safetensors  what of the encoders was trained: LoRA's matrices, or with method full weights and buffers; absent
                     where nothing was. Of a joint expert, names begin with ``branches.<modality>.``
head.safetensors     layer weights, pooling and head, batch norm's statistics included; of a joint expert layer weights,
                     mixer and heads
audio/, text/        joint experts: copy of the expert whose encoder the branch was taken from, where it was. The joint
                     expert is thus whole: that expert may be trained again
==================== =================================================================================================

Both tensor files are what ``state_dict`` calls them, sorted; nothing that is loaded can run code. The same expert gives
the same bytes, and settings.json holds the SHA-256 of all of them. The encoders' own checkpoints are not copied.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pipeline_lib.errors import InputError
from pipeline_lib.expert_network import (
    ENCODER,
    AnyNetwork,
    Encoder,
    ExpertSettings,
    assemble,
    encoders_of,
    merge,
    trained_state,
)
from pipeline_lib.storage import atomic, checksummed_json

FORMAT_VERSION = 1
FILES = ("settings.json", "adapter.safetensors", "head.safetensors")


def build(settings: ExpertSettings, device: torch.device, folder: Path | None = None) -> AnyNetwork:
    """Return an untrained network in eval mode; the same settings give the same weights.

    Args:
        settings: the expert's
        device: where it is to be
        folder: of the same expert, trained, where copies of the experts lie that its encoders were taken from; None
            takes them from the folders that its branches name

    Raises:
        InputError: a checkpoint or an expert cannot be had, or an option does not fit it
    """
    taken = {}
    for name, place in _origins(settings).items():
        there = place if folder is None else folder / name
        said = read_settings(there)
        if said.modality != name:
            raise InputError(f"branches.{name}.expert is {place}, whose modality is {said.modality!r}")
        taken[name] = load_encoder(there, device)
    return assemble(settings, device, taken)


def save_expert(folder: Path, network: nn.Module, settings: ExpertSettings) -> None:
    """Write the expert through a temporary folder; a reader sees all of it or nothing."""
    said = {"format_version": FORMAT_VERSION, **_told(settings)}
    adapter, head = trained_state(network)
    tensors = {"adapter.safetensors": adapter, "head.safetensors": head}
    contents = {name: save(each) for name, each in tensors.items() if each}
    with atomic.replace_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        for name, place in _origins(settings).items():
            (temporary / name).mkdir()
            for file in FILES:
                if (place / file).exists():
                    (temporary / name / file).write_bytes((place / file).read_bytes())
        text = checksummed_json.dumps(said, contents, indent=2, sort_keys=True) + "\n"
        (temporary / "settings.json").write_bytes(text.encode())


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
    said, digests = checksummed_json.read(path, required=False)
    version = said.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads {FORMAT_VERSION}; train the expert again"
        )
    return ExpertSettings.parse(said, folder.name, path), digests


def load(folder: Path, device: torch.device) -> AnyNetwork:
    """Return the expert's network in eval mode, through ``merge``; it predicts to the bit what the saved one does.

    Raises:
        InputError: a file is missing or damaged, or does not fit the encoder's checkpoint
    """
    settings, digests = _read_settings(folder)
    network = build(settings, device, folder)
    adapter, head = trained_state(network)
    found = {}
    for name, expected in (("adapter", adapter), ("head", head)):
        path = folder / f"{name}.safetensors"
        tensors = _read(path) if expected else {}
        if tensors.keys() != expected.keys() or any(tensors[key].shape != expected[key].shape for key in expected):
            odd = sorted(tensors.keys() ^ expected.keys()) or [
                k for k in expected if tensors[k].shape != expected[k].shape
            ]
            raise InputError(
                f"{path} does not fit its settings.json at {odd[0]!r} (was the encoder's checkpoint replaced?)"
            )
        if expected:
            checksummed_json.check(path, digests.get(path.name))
        found |= {(ENCODER if name == "adapter" else "") + key: tensor for key, tensor in tensors.items()}
    network.load_state_dict(found, strict=False)
    return merge(network)


def load_encoder(folder: Path, device: torch.device, modality: str | None = None) -> Encoder:
    """Return the expert's encoder alone, in eval mode, through ``merge``.

    Args:
        folder: the expert's
        device: where it is to be
        modality: which of a joint expert's encoders, audio or text

    Raises:
        InputError: the expert cannot be read, or it is a joint one and no modality is named
    """
    network = load(folder, device)
    encoders = {name.rstrip(".").split(".")[-1]: each for name, each in encoders_of(network).items()}
    if len(encoders) > 1 and modality not in encoders:
        raise InputError(f"{folder} is a joint expert, its encoders are {sorted(encoders)}; expected one of them")
    found = encoders[modality] if len(encoders) > 1 else next(iter(encoders.values()))
    return found.requires_grad_(False).eval()


def _origins(settings: ExpertSettings) -> dict[str, Path]:
    """Return by modality the folders of the experts that a joint expert's encoders are taken from."""
    if settings.joint is None:
        return {}
    return {name: Path(each.expert) for name, each in settings.joint.branches.items() if each.expert is not None}


def _told(settings: ExpertSettings) -> dict:
    """Return what settings.json says; what an expert of its modality has not is left out."""
    said = settings.model_dump()
    idle = [name for name in ("encoder", "network", "joint") if said[name] is None]
    idle += [] if settings.sentiment else ["sentiment"]
    return {name: value for name, value in said.items() if name not in idle}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train the expert again (dvc repro)") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; train the expert again") from None
