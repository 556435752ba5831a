"""Storage of a trained expert: models/<name>/, read by fine-tuning, prediction and the embedding stage.

An expert with folds has such a folder a fold, see ``folds``.

==================== =================================================================================================
settings.json        ``ExpertSettings``: labels and attributes in order, the encoders' checkpoints, all options
adapter.safetensors  trained tensors of the encoders: LoRA's matrices, or with method full weights and buffers; absent
                     where there are none. Names begin with ``branches.<modality>.``
head.safetensors     layer weights, ``join`` (pooling or mixer) and heads, batch norm's statistics included
<modality>/          copy of the expert whose encoder the branch was taken from, if any. So the expert is complete: that
                     expert may be trained again
==================== =================================================================================================

Tensors have the names of ``state_dict``, sorted; no file that is loaded can run code. The same expert gives the same
bytes, and settings.json holds the SHA-256 of all of them. The encoders' own checkpoints are not copied, see
``checkpoints``.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pipeline_lib.errors import InputError
from pipeline_lib.experts import checkpoints, folds
from pipeline_lib.experts.build import ENCODER, AnyNetwork, Encoder, assemble, merge, trained_state
from pipeline_lib.experts.settings import FORMAT_VERSION, ExpertSettings, check_version
from pipeline_lib.storage import atomic, checksummed_json

FILES = ("settings.json", "adapter.safetensors", "head.safetensors")


def build(
    settings: ExpertSettings, device: torch.device, folder: Path | None = None, project: Path | None = None
) -> AnyNetwork:
    """Return an untrained network in eval mode; the same settings give the same weights.

    Args:
        settings: the expert's
        device: where the network runs
        folder: of the same expert, trained, with copies of the experts that its encoders were taken from; None takes
            them from the folders that its branches name
        project: folder that relative paths of checkpoints start from, see ``load``

    Raises:
        InputError: a checkpoint or an expert is not available, or an option does not fit it
    """
    taken: dict[str, Encoder] = {}
    if folder is not None:
        project = project or _project(folder)
        settings = checkpoints.located(settings, project)
    for name, origin in origins(settings).items():
        source = origin if folder is None else folder / name
        modalities = read_settings(source).modalities
        if modalities != (name,):
            read = " and ".join(modalities)
            raise InputError(f"branches.{name}.expert is {origin}, which reads {read}; expected one of {name} alone")
        taken[name] = load_encoder(source, device, name, project)
    return assemble(settings, device, taken)


def save_expert(folder: Path, network: nn.Module, settings: ExpertSettings) -> None:
    """Write the expert through a temporary folder; a reader sees all of it or nothing.

    Args:
        folder: of the expert; replaced where it exists
        network: trained
        settings: from which ``build`` builds it
    """
    saved = checkpoints.with_digests(settings).model_dump(exclude_none=True)
    values = {"format_version": FORMAT_VERSION, **saved}
    adapter, head = trained_state(network)
    tensors = {"adapter.safetensors": adapter, "head.safetensors": head}
    contents = {name: save(state) for name, state in tensors.items() if state}
    with atomic.replace_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        for name, origin in origins(settings).items():
            (temporary / name).mkdir()
            for file in FILES:
                if (origin / file).exists():
                    (temporary / name / file).write_bytes((origin / file).read_bytes())
        text = checksummed_json.dumps(values, contents, indent=2, sort_keys=True) + "\n"
        (temporary / "settings.json").write_bytes(text.encode())


def read_settings(folder: Path) -> ExpertSettings:
    """Return the settings of an expert on disk.

    Raises:
        InputError: there is none, another version of this code wrote it, or it has an expert a fold (``folds``)
    """
    return _read_settings(folder)[0]


def _read_settings(folder: Path) -> tuple[ExpertSettings, dict[str, str]]:
    folds.refuse(folder)
    path = folder / "settings.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist; the stage finetuning writes it (dvc repro)")
    values, digests = checksummed_json.read(path, required=False)
    check_version(path, values.pop("format_version", None))
    return ExpertSettings.parse(values, folder.name, path), digests


def load(folder: Path, device: torch.device, project: Path | None = None) -> AnyNetwork:
    """Return the expert's network in eval mode, merged; its predictions equal those of the saved one to the bit.

    Args:
        folder: the expert's
        device: where the network runs
        project: folder that relative paths of checkpoints start from, after the current one; None for the one that
            holds ``models/`` of the expert

    Raises:
        InputError: a file is missing or damaged, or does not fit the encoder's checkpoint
    """
    settings, digests = _read_settings(folder)
    network = build(settings, device, folder, project)
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


def load_encoder(
    folder: Path, device: torch.device, modality: str | None = None, project: Path | None = None
) -> Encoder:
    """Return one of the expert's encoders alone, in eval mode, through ``merge``.

    Args:
        folder: the expert's
        device: where the encoder runs
        modality: that of the encoder; None where the expert has one alone
        project: folder that relative paths of checkpoints start from, see ``load``

    Raises:
        InputError: the expert cannot be read, it has no such encoder, or several and no modality is named
    """
    known = read_settings(folder).modalities
    if modality is None and len(known) == 1:
        (modality,) = known
    if modality not in known:
        raise InputError(f"{folder} has encoders of {list(known)}, the modality is {modality!r}; expected one of them")
    network = load(folder, device, project)
    return network.encoder.branches[modality].requires_grad_(False).eval()


def _project(folder: Path) -> Path:
    """Return the folder that holds ``models/`` of an expert, or of the expert with folds that it is one of."""
    resolved = folder.resolve()
    return (resolved.parent if folds.is_fold(resolved) else resolved).parent.parent


def origins(settings: ExpertSettings) -> dict[str, Path]:
    """Return by modality the folders of the experts that an expert's encoders are taken from."""
    return {name: Path(branch.expert) for name, branch in settings.branches.items() if branch.expert is not None}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train the expert again (dvc repro)") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; train the expert again") from None
