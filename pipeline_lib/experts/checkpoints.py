"""Local checkpoints of a saved expert's encoders: what they hold, and where they are on another machine.

A checkpoint's path is saved as params.yaml has it, relative to the project. It is looked for under the current folder,
then under the project that the expert's ``models/`` belongs to, then by its name alone in that folder; the first with
the saved content is taken.
"""

from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.storage.fingerprint import file_digest, fingerprint

READ = (".json", ".safetensors", ".txt", ".model")  # configuration, weights and vocabulary


def with_digests(settings: ExpertSettings) -> ExpertSettings:
    """Return the settings with the digest of each local checkpoint.

    Args:
        settings: of an expert whose checkpoints are where they were in training
    """
    branches = {name: branch.model_copy(update={"digest": _own(branch)}) for name, branch in settings.branches.items()}
    return settings.model_copy(update={"branches": branches})


def located(settings: ExpertSettings, project: Path) -> ExpertSettings:
    """Return the settings with the paths of local checkpoints as they are here.

    Args:
        settings: as they are saved
        project: folder that holds ``models/`` of the expert

    Raises:
        InputError: there is no such checkpoint, or one of other content alone
    """
    branches = {
        name: branch.model_copy(update={"encoder": _located(branch, f"branches.{name}", project)})
        for name, branch in settings.branches.items()
    }
    return settings.model_copy(update={"branches": branches})


def digest_of(folder: Path) -> str:
    """Return a digest of the files that a checkpoint is loaded from, 16 hexadecimal digits.

    Args:
        folder: of the checkpoint
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix in READ)
    return fingerprint({file.relative_to(folder).as_posix(): file_digest(file) for file in files})


def _own(branch: ExpertBranch) -> str | None:
    folder = Path(branch.encoder.checkpoint) if branch.encoder is not None else None
    return digest_of(folder) if folder is not None and folder.is_dir() else None


def _located(branch: ExpertBranch, where: str, project: Path) -> EncoderSettings | None:
    encoder = branch.encoder
    if encoder is None or branch.digest is None:
        return encoder
    named_so = Path(encoder.checkpoint)
    candidates = list(dict.fromkeys([named_so, project / named_so, project / named_so.name]))
    present = [folder for folder in candidates if folder.is_dir()]
    if not present:
        raise InputError(
            f"the checkpoint {encoder.checkpoint!r} of {where} is neither in the current folder nor in {project}; copy"
            " it there, or run in the project that the expert was trained in"
        )
    for folder in present:
        if digest_of(folder) == branch.digest:
            return encoder.model_copy(update={"checkpoint": str(folder)})
    named = " and ".join(map(str, present))
    raise InputError(
        f"the checkpoint {named} of {where} has other files than the one that the expert was trained with (was it"
        " replaced?); restore it, or train the expert again"
    )
