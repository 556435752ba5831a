"""Predictions of a project's trained experts: a table a member and combination of modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import pipeline_lib.encoders
import pipeline_lib.experts
import pipeline_lib.networks
from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk, folds
from pipeline_lib.experts.outputs import repeatable
from pipeline_lib.experts.predict import Expert, predict
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.experts.utterances import Utterances, from_manifest
from pipeline_lib.inference.members import Member
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.record import Record
from pipeline_lib.inference.system_protocol import System
from pipeline_lib.shards import store
from pipeline_lib.storage.fingerprint import code_digest, file_digest, fingerprint
from pipeline_lib.tables import predictions
from pipeline_lib.tables.manifest import Manifest


@dataclass(frozen=True)
class Inputs:
    """What experts read.

    Attributes:
        manifest: the utterances
        root: folder that its audio paths start from
        transcripts: in the manifest's order, None where no expert reads them
        by_member: whether a member predicts its own utterances alone; else all, which a normalisation by speaker needs
    """

    manifest: Manifest
    root: Path
    transcripts: Sequence[str | None] | None
    by_member: bool = True

    def of(self, member: Member, settings: ExpertSettings) -> Utterances:
        """Return the corpus as an expert reads it, of which a member predicts those that have any of its modalities.

        The others are not left out: they may be the previous turns of a dialogue.

        Args:
            member: of the system
            settings: of the expert
        """
        read = from_manifest(
            self.manifest, self.root, settings.modalities, self.transcripts, settings.text, settings.context
        )
        rows = member.rows if self.by_member else np.ones(len(read), dtype=bool)
        return replace(read, present=read.present & rows[:, None])


def folder_of(project: System, name: str, member: Member) -> Path:
    """Return the folder of an expert, of folds that of a member's.

    Args:
        project: of the system
        name: of the expert
        member: of the system

    Raises:
        InputError: the expert is not trained, or has folds where the system has none, or the reverse
    """
    folder = project.models / name
    of_folds = folds.experts_of(folder)
    if bool(of_folds) != (member.fold is not None):
        expected = "an expert a fold" if member.fold is not None else "one expert"
        raise InputError(f"{folder} does not hold {expected}, as fusion.folds of {project.folder} says; run dvc repro")
    if member.fold is None:
        return folder
    if member.fold >= len(of_folds):
        raise InputError(f"{folder} has {len(of_folds)} folds, the fusion {project.n_folds}; run dvc repro")
    return of_folds[member.fold]


def reads_transcripts(project: System, name: str, member: Member) -> bool:
    """Return whether an expert reads ASR transcripts.

    Args:
        project: of the system
        name: of the expert
        member: of the system
    """
    settings = disk.read_settings(folder_of(project, name, member))
    return "text" in settings.modalities and settings.text == "transcripts"


def write_member(
    project: Project, name: str, member: Member, stems: Mapping[str, str], inputs: Inputs, out: Path
) -> None:
    """Write what one member's expert predicts, the table of each combination; what an earlier run wrote stays.

    Args:
        project: of the system
        name: of the expert
        member: of the system
        stems: of the tables by combination of modalities, ``both`` among them
        inputs: what is read
        out: folder with the layout of ``data/``

    Raises:
        InputError: the expert cannot be loaded or read the utterances, or memory does not suffice
    """
    record, folder, batch_size = Record(out), folder_of(project, name, member), project.batch_size(name)
    read = inputs.of(member, disk.read_settings(folder))
    device = pick(project.machine.finetuning.device)
    packages = (pipeline_lib.experts, pipeline_lib.networks, pipeline_lib.encoders)
    used = (file_digest(folder), code_digest(*packages), torch.__version__, device.type, batch_size)
    digest = fingerprint(*used, read.ids.tolist(), read.content, read.context, read.present.tolist())
    if all(record.has(member.table(stem), digest) for stem in stems.values()):
        return
    repeatable(device)
    if project.machine.finetuning.threads is not None:
        torch.set_num_threads(project.machine.finetuning.threads)
    expert, shards = Expert.load(folder, device), project.work / "inference" / name / digest
    for combination, stem in stems.items():
        table = predict(
            expert,
            read,
            batch_size=batch_size,
            machine=project.machine.finetuning,
            folder=shards,
            combination=combination,
            name=name,
        )
        predictions.write(out / member.table(stem), table)
        record.add(member.table(stem), digest)
    store.discard(shards)
