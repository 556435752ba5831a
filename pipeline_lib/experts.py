"""Storage of a trained expert: models/<name>/, read by fine-tuning, prediction and the embedding stage.

==================== =================================================================================================
settings.json        ``ExpertSettings``: labels and attributes in order, the encoders' checkpoints, all options
adapter.safetensors  trained tensors of the encoders: LoRA's matrices, or with method full weights and buffers; absent
                     where there are none. Of a joint expert, names begin with ``branches.<modality>.``
head.safetensors     layer weights, pooling and head, batch norm's statistics included; of a joint expert layer weights,
                     mixer and heads
audio/, text/        joint experts: copy of the expert whose encoder the branch was taken from, if any. So the joint
                     expert is complete: that expert may be trained again
==================== =================================================================================================

Tensors have the names of ``state_dict``, sorted; no file that is loaded can run code. The same expert gives the same
bytes, and settings.json holds the SHA-256 of all of them. The encoders' own checkpoints are not copied.
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
        device: where the network runs
        folder: of the same expert, trained, with copies of the experts that its encoders were taken from; None takes
            them from the folders that its branches name

    Raises:
        InputError: a checkpoint or an expert is not available, or an option does not fit it
    """
    taken: dict[str, Encoder] = {}
    for name, origin in _origins(settings).items():
        source = origin if folder is None else folder / name
        modality = read_settings(source).modality
        if modality != name:
            raise InputError(f"branches.{name}.expert is {origin}, whose modality is {modality!r}, expected {name!r}")
        taken[name] = load_encoder(source, device)
    return assemble(settings, device, taken)


def save_expert(folder: Path, network: nn.Module, settings: ExpertSettings) -> None:
    """Write the expert through a temporary folder; a reader sees all of it or nothing.

    Args:
        folder: of the expert; replaced where it exists
        network: trained
        settings: from which ``build`` builds it
    """
    values = {"format_version": FORMAT_VERSION, **_values(settings)}
    adapter, head = trained_state(network)
    tensors = {"adapter.safetensors": adapter, "head.safetensors": head}
    contents = {name: save(state) for name, state in tensors.items() if state}
    with atomic.replace_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        for name, origin in _origins(settings).items():
            (temporary / name).mkdir()
            for file in FILES:
                if (origin / file).exists():
                    (temporary / name / file).write_bytes((origin / file).read_bytes())
        text = checksummed_json.dumps(values, contents, indent=2, sort_keys=True) + "\n"
        (temporary / "settings.json").write_bytes(text.encode())


def read_settings(folder: Path) -> ExpertSettings:
    """Return the settings of an expert on disk.

    Raises:
        InputError: there is none, or another version of this code wrote it
    """
    return _read_settings(folder)[0]


def _read_settings(folder: Path) -> tuple[ExpertSettings, dict[str, str]]:
    path = folder / "settings.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist; the stage finetuning writes it (dvc repro)")
    values, digests = checksummed_json.read(path, required=False)
    version = values.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads {FORMAT_VERSION}; train the expert again"
        )
    return ExpertSettings.parse(values, folder.name, path), digests


def load(folder: Path, device: torch.device) -> AnyNetwork:
    """Return the expert's network in eval mode, merged; its predictions equal those of the saved one to the bit.

    Args:
        folder: the expert's
        device: where the network runs

    Raises:
        InputError: a file is missing or damaged, or does not fit the encoder's checkpoint
    """
    settings, digests = _read_settings(folder)
    network = build(settings, device, folder)
    adapter, head = trained_state(network)
    state: dict[str, Tensor] = {}
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
        state |= {(ENCODER if name == "adapter" else "") + key: tensor for key, tensor in tensors.items()}
    network.load_state_dict(state, strict=False)
    return merge(network)


def load_encoder(folder: Path, device: torch.device, modality: str | None = None) -> Encoder:
    """Return the expert's encoder alone, in eval mode, through ``merge``.

    Args:
        folder: the expert's
        device: where the encoder runs
        modality: of a joint expert, that of the encoder, audio or text

    Raises:
        InputError: the expert cannot be read, or it is a joint one and no modality is named
    """
    network = load(folder, device)
    encoders = {name.rstrip(".").split(".")[-1]: encoder for name, encoder in encoders_of(network).items()}
    if len(encoders) == 1:
        modality = next(iter(encoders))
    if modality is None or modality not in encoders:
        raise InputError(f"{folder} is a joint expert, its encoders are {sorted(encoders)}; expected one of them")
    return encoders[modality].requires_grad_(False).eval()


def _origins(settings: ExpertSettings) -> dict[str, Path]:
    """Return by modality the folders of the experts that a joint expert's encoders are taken from."""
    if settings.joint is None:
        return {}
    return {name: Path(branch.expert) for name, branch in settings.joint.branches.items() if branch.expert is not None}


def _values(settings: ExpertSettings) -> dict:
    """Return the values of settings.json, without the sections that an expert of its modality does not have."""
    values = settings.model_dump()
    idle = [name for name in ("encoder", "network", "joint") if values[name] is None]
    idle += [] if settings.sentiment else ["sentiment"]
    idle += [name for name in ("device", "precision") if values[name] is None]
    return {name: value for name, value in values.items() if name not in idle}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train the expert again (dvc repro)") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; train the expert again") from None
