"""The folder of a trained system, whether it is a bundle or a project."""

import re
from dataclasses import replace
from pathlib import Path

from pipeline_lib.bundle import format
from pipeline_lib.bundle.opened import Bundle
from pipeline_lib.errors import InputError
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.system_protocol import System
from pipeline_lib.params.base import PARAMS
from pipeline_lib.params.machine import Device, MachineSettings

NAME = re.compile(r"(?!models/|data/)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # of a repository on the hub


def system_of(folder: Path, device: Device, encoders: Path | None = None) -> System:
    """Return the system of a bundle, or of a project whose stages have run.

    Args:
        folder: of the bundle or project; where there is none of the name, owner/name of a bundle on the hub
        device: where models run
        encoders: folder of checkpoints that are no part of a bundle, None for the bundle's own

    Raises:
        InputError: the folder is neither, or see ``Bundle.open`` and ``Project.read``
    """
    if not folder.exists() and NAME.fullmatch(str(folder)):
        from pipeline_lib.bundle.hub import local

        folder = local(str(folder))
    if format.is_bundle(folder):
        return Bundle.open(folder, device, encoders)
    if (folder / PARAMS).is_file():
        return replace(Project.read(folder), machine=MachineSettings(device=device))
    what = "does not exist" if not folder.exists() else f"has neither {format.RECORD} nor {PARAMS}"
    raise InputError(
        f"{folder} {what}, expected the folder of a bundle (ser bundle, ser pull) or of a project whose stages have run"
    )
