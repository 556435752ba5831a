"""Pack what a project has trained: models, the settings that they are applied with, and where they come from."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from pipeline_lib.bundle import experts, format
from pipeline_lib.bundle.checkpoints import Checkpoints
from pipeline_lib.bundle.current import refuse_stale
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.inference.experts import folder_of
from pipeline_lib.inference.members import Member
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.run import sources_of
from pipeline_lib.params.base import FILLER
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.rebalancing.model import Model
from pipeline_lib.storage import atomic
from pipeline_lib.tables import manifest as manifests
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.provenance import Provenance

PACKAGE = "speech-emotion-pipeline"
LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers", "peft", "soxr", "soundfile")
ENGINES = {"canary": ("nemo_toolkit",), "whisper": (), "reference": ()}
DETAILS = "metrics/details.json"


@dataclass(frozen=True)
class Parts:
    """What a system is made of.

    Attributes:
        entries: of rebalancing that are fused, one a member, by name
        embeddings: names of the entries of embedding that they read
        experts: names of the experts that they read
    """

    entries: dict[str, list[Model]]
    embeddings: list[str]
    experts: list[str]


def pack(project: Path, out: Path, *, with_encoders: bool) -> dict[str, Any]:
    """Write the bundle of a project's fused system, and return its record.

    Args:
        project: folder of params.yaml, dvc.lock and ``models/``
        out: folder of the bundle; an earlier bundle in it is replaced
        with_encoders: whether checkpoints of encoders and of Whisper are copied

    Raises:
        InputError: outputs are stale, a model reads what no model computes, a checkpoint is not there, or ``out`` holds
            something else than a bundle
    """
    if out.exists() and not format.is_bundle(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is no bundle, expected another --out")
    read = Project.read(project)
    parts = _parts(read)
    refuse_stale(project, stages_of(read, parts), [read.params.corpus.root])
    with atomic.replace_folder(out) as folder:
        checkpoints = Checkpoints(project, folder, with_encoders)
        for name in parts.experts:
            experts.copy(read.models / name, folder / format.MODELS / name, checkpoints)
        for name in parts.entries:
            _copy(read.models / "rebalancing" / name, folder / format.MODELS / "rebalancing" / name)
        _copy(read.models / "fusion", folder / format.MODELS / "fusion")
        system = _system(read, parts, checkpoints)
        if (project / DETAILS).is_file():
            (folder / format.SCORES).parent.mkdir()
            shutil.copyfile(project / DETAILS, folder / format.SCORES)
        record = _record(read, parts, system, checkpoints)
        format.write(folder, record)
    return record


def stages_of(project: Project, parts: Parts) -> Iterator[str]:
    """Yield the stages whose outputs are packed, in the order in which they run.

    Args:
        project: of the system
        parts: of the system
    """
    yield "corpus"
    if _reads_transcripts(project, parts):
        yield "transcription"
    yield from (f"embedding@{name}" for name in parts.embeddings)
    yield from (f"finetuning@{name}" for name in parts.experts)
    yield from (f"rebalancing@{name}" for name in parts.entries)
    yield "fusion"


def _parts(project: Project) -> Parts:
    entries = {}
    for name in project.fusion.experts:
        folder = project.models / "rebalancing" / name
        of_folds = [folder / name_of(number) for number in range(project.n_folds)]
        entries[name] = [rebalancing.read(each) for each in (of_folds if (folder / name_of(0)).is_dir() else [folder])]
    embeddings, named = sources_of([model for models in entries.values() for model in models])
    for name in embeddings:  # a tuned encoder is an expert's, which the bundle then holds
        expert = project.embedding(name).expert
        if expert is not None and Path(expert).name not in named:
            named.append(Path(expert).name)
    return Parts(entries, embeddings, named)


def _settings_of(project: Project, parts: Parts) -> dict[str, ExpertSettings]:
    member = Member(0 if project.n_folds else None, np.ones(0, dtype=bool))  # of no utterance: its folder alone is read
    return {name: disk.read_settings(folder_of(project, name, member)) for name in parts.experts}


def _reads_transcripts(project: Project, parts: Parts) -> bool:
    reads = [each.text == "transcripts" for each in _settings_of(project, parts).values() if "text" in each.modalities]
    entries = [project.embedding(name) for name in parts.embeddings]
    return any([*reads, *(each.modality == "text" and each.text == "transcripts" for each in entries)])


def _system(project: Project, parts: Parts, checkpoints: Checkpoints) -> dict[str, Any]:
    """Return the settings that the models are applied with, in which checkpoints have the bundle's names."""
    transcription = project.params.transcription.model_dump()
    transcription["reads"] = {"checkpoint": FILLER}
    engine = transcription["engine"]
    if engine != "reference" and _reads_transcripts(project, parts):
        transcription[engine] = checkpoints.renamed(transcription[engine])
    for other in {*ENGINES} - {engine}:
        del transcription[other]
    embedding = {}
    for name in parts.embeddings:
        values = project.params.embedding[name].model_dump(exclude={"reads"})
        if values["encoder"] is not None:
            values["encoder"] = checkpoints.renamed(values["encoder"])
        else:
            values["expert"] = f"{format.MODELS}/{Path(values['expert']).name}"
        embedding[name] = values
    known = {name: project.fitted_to(name) for name in parts.embeddings}
    # without the revision: the commit is the checkpoint's own, and a copy has none
    fitted = {name: each and {k: v for k, v in each.items() if k != "revision"} for name, each in known.items()}
    return {
        "transcription": transcription,
        "embedding": embedding,
        "fitted_to": fitted,
        "fusion": project.fusion.model_dump(),
        "batch_sizes": {name: project.batch_size(name) for name in parts.experts},
        "n_folds": project.n_folds,
    }


def _record(project: Project, parts: Parts, system: dict[str, Any], checkpoints: Checkpoints) -> dict[str, Any]:
    corpus = manifests.read(project.folder / "data" / "manifest.parquet")
    settings = _settings_of(project, parts)
    lengths = [each.max_s for each in settings.values() if "audio" in each.modalities]
    engine = system["transcription"]["engine"]
    return {
        "name": corpus.corpus,
        "labels": list(corpus.labels),
        "attribute_scale": list(corpus.attribute_scale),
        "corpus": {
            "name": corpus.corpus,
            "notice": corpus.notice,
            "utterances": {str(k): int(v) for k, v in corpus.frame["split"].value_counts().sort_index().items()},
            "speakers": int(corpus.frame["speaker"].nunique()),
            "genders": {str(k): int(v) for k, v in corpus.frame["gender"].value_counts().sort_index().items()},
        },
        "system": system,
        "longest_audio_s": min(lengths, default=None),
        "experts": {
            name: {"modalities": list(each.modalities), "max_s": each.max_s} for name, each in settings.items()
        },
        "encoders": checkpoints.known,
        "priors": {name: _priors(models) for name, models in parts.entries.items()},
        "provenance": _provenance(project, parts),
        "scored_on": project.params.scoring.plotted_split,
        "licences": {PACKAGE: "Apache-2.0", **{name: each["licence"] for name, each in checkpoints.known.items()}},
        "versions": _versions((PACKAGE, *LIBRARIES, *ENGINES[engine])),
    }


def _priors(models: Sequence[Model]) -> dict[str, Any]:
    """Return an entry's priors by label, the mean over its members, and how the target prior came about."""

    def mean(name: str) -> dict[str, float] | None:
        values = [getattr(model, name) for model in models]
        if any(value is None for value in values):
            return None
        return dict(zip(models[0].labels, (sum(values) / len(values)).tolist(), strict=True))

    first = models[0].settings
    chosen = {"em": {"estimated_on": first.em.on}}.get(first.prior, {})
    return {"prior": first.prior, "training": mean("training_prior"), "target": mean("target_prior"), **chosen}


def _provenance(project: Project, parts: Parts) -> dict[str, Any]:
    """Return of each artifact the splits that it was fitted and chosen on, as far as the artifacts say so."""
    records = {
        f"rebalancing/{name}": project.models / "rebalancing" / name / rebalancing.RECORD for name in parts.entries
    }
    records |= {name: project.models / name / "settings.json" for name in parts.experts}
    records["fusion"] = project.models / "fusion" / "fusion.json"
    result = {}
    for name, path in sorted(records.items()):
        members = [path.parent / name_of(fold) / path.name for fold in range(project.n_folds)]
        read = [json.loads(each.read_bytes()) for each in ([path] if path.is_file() else members)]
        result[name] = Provenance.joined(Provenance.of(values, name) for values in read).entries()
    return result


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {"python": python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _copy(source: Path, target: Path) -> None:
    """Copy the JSON and safetensors of a fitted model; tables of what was tried are left out."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.suffix in (".json", ".safetensors"):
            copied = target / file.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
