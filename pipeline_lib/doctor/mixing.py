"""Warnings where a run would mix devices or precisions: artifacts that were made on one kind of device beside others
made, or still to be made, on another.

Everything comes from the artifacts' metadata, params.yaml and machine.yaml; no model is loaded and no row read. What
``device: auto`` is on this machine is not known without torch: then artifacts are compared with one another alone. A
difference in precision that params.yaml itself requests (``encoder.weights``) is no mixture.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.params.inputs import Part
from pipeline_lib.params.machine import MachineSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import predictions, transcripts
from pipeline_lib.tables.origin import NO_MODEL, SEPARATOR, Origin, join

CONSEQUENCE = "results differ by rounding, within the tolerances that docs/machine.md states"
AGAIN = "make again here what was made elsewhere (dvc repro -f -s {}), or set {}.device to {} in machine.yaml"


@dataclass(frozen=True)
class Artifact:
    """What a model makes.

    Attributes:
        path: of the file or folder
        stage: section of params.yaml and machine.yaml: transcription, embedding or finetuning
        entry: of that section, empty for transcription
        requested: all that its precision follows from in params.yaml; those with the same are compared
        origin: what its metadata hold; None where it does not exist
    """

    path: str
    stage: str
    entry: str
    requested: tuple[str, ...]
    origin: Origin | None

    @property
    def device(self) -> str | None:
        """The one kind of device that it was made on; None where it is absent, mixed in itself or of older code."""
        return None if self.origin is None or self.is_mixed else self.origin.device

    @property
    def is_mixed(self) -> bool:
        """Whether parts of it were made on different kinds of device."""
        return self.origin is not None and SEPARATOR in (self.origin.device or "")


def warn(params: Params, machine: MachineSettings) -> None:
    """Print what a run in this folder would mix, a sentence each, on stderr.

    Args:
        params: all sections, checked
        machine: machine.yaml
    """
    for sentence in mixtures(params, machine):
        print(f"warning: {sentence}", file=sys.stderr)


def mixtures(params: Params, machine: MachineSettings, root: Path = Path()) -> list[str]:
    """Return a sentence for each case in which a run would mix devices or precisions.

    Args:
        params: all sections, checked
        machine: machine.yaml
        root: the project's folder
    """
    unreadable: list[str] = []
    artifacts = list(_artifacts(params, root, unreadable))
    sentences = [*unreadable, *(_within(artifact) for artifact in artifacts if artifact.is_mixed)]
    for stage in ("embedding", "finetuning"):
        sentences += _elsewhere(stage, [a for a in artifacts if a.stage == stage], _named(machine, stage))
    for expert, group in _with_embeddings(params, artifacts):
        sentences += _different(f"finetuning of {expert!r} reads and makes", group)
        sentences += _before_training(expert, group, _named(machine, "finetuning"))
    tables = {Path(table).stem for table in params.scoring.tables.values()} | {*params.fusion.experts}
    read = [a for a in artifacts if a.stage == "finetuning" and a.entry in tables]
    return [*sentences, *_different("fusion and scoring read together", read)]


def _artifacts(params: Params, root: Path, unreadable: list[str]) -> Iterator[Artifact]:
    """Yield what the entries' models make; what cannot be read is added to ``unreadable``, a sentence each."""
    transcripts_path = "data/transcripts.parquet"
    yield Artifact(transcripts_path, "transcription", "", (), _origin(root, transcripts_path, unreadable))
    for name, entry in params.embedding.items():
        path, held_in = f"data/embeddings/{name}", _weights(entry, entry.modality, params)
        yield Artifact(path, "embedding", name, ("embedding", held_in), _origin(root, path, unreadable))
    for name, expert in params.finetuning.items():
        branches = expert.branches
        held = {modality: _weights(branch, modality, params) for modality, branch in branches.items()}
        same = len({*held.values()}) == 1
        weights = tuple({*held.values()}) if same else tuple(f"{modality} {held[modality]}" for modality in held)
        frozen = tuple(modality for modality, branch in branches.items() if branch.adaptation.method == "frozen")
        exempt = frozen if len(branches) > 1 or expert.cache_embeddings else ()
        for path, requested in (
            (f"models/{name}", ("training", expert.precision, *weights, *exempt)),
            (f"data/predictions/{name}.parquet", ("prediction", *weights)),
        ):
            yield Artifact(path, "finetuning", name, requested, _origin(root, path, unreadable))


def _weights(part: Part, modality: str, params: Params) -> str:
    """Return how the weights of a part's encoder are held; of an expert that no entry trains the expert's folder."""
    if part.encoder is not None:
        return part.encoder.weights
    trained = {f"models/{name}": expert for name, expert in params.finetuning.items()}.get(part.expert or "")
    return str(part.expert) if trained is None else _weights(trained.branches[modality], modality, params)


def _origin(root: Path, path: str, unreadable: list[str]) -> Origin | None:
    """Return what an artifact's metadata hold, None where it does not exist."""
    target = root / path
    if not target.exists():
        return None
    try:
        if target.suffix == ".parquet":
            table = predictions if path.startswith("data/predictions/") else transcripts
            return Origin.of(table.read_metadata(target))
        record = "embedding.json" if path.startswith("data/embeddings/") else "settings.json"
        parts = sorted(target.glob(f"fold*/{record}")) or [target / record]  # an expert with folds has one a fold
        origins = [Origin.of(checksummed_json.read(part, required=False)[0]) for part in parts]
        devices = join(origin.device for origin in origins if origin.device is not None)
        return Origin(devices, join(origin.precision for origin in origins if origin.precision is not None))
    except (InputError, OSError) as error:
        unreadable.append(f"the device that {path} was made on is not known and not compared: {error}")
        return NO_MODEL


def _named(machine: MachineSettings, stage: str) -> str | None:
    """Return the device that machine.yaml names for a stage, None where it is left to torch."""
    device = getattr(machine, stage).device
    return None if device == "auto" else device


def _with_embeddings(params: Params, artifacts: Sequence[Artifact]) -> Iterator[tuple[str, list[Artifact]]]:
    """Yield each expert that is trained on embeddings, with the artifacts that it reads and makes."""
    for name, expert in params.finetuning.items():
        read = {branch.embedding for branch in expert.branches.values() if branch.embedding is not None}
        if read:
            yield name, [a for a in artifacts if a.path in read or (a.stage, a.entry) == ("finetuning", name)]


def _within(artifact: Artifact) -> str:
    assert artifact.origin is not None  # is_mixed
    target = _target(artifact)
    return (
        f"{artifact.path} was itself made in parts on {artifact.origin.device}: {CONSEQUENCE}; make it again on one"
        f" device (dvc repro -f -s {target})"
    )


def _elsewhere(stage: str, artifacts: Sequence[Artifact], device: str | None) -> Iterator[str]:
    """Yield a sentence for each device that this machine does not use, where another entry may have to be made here."""
    if device is None or len({artifact.entry for artifact in artifacts}) < 2:
        return
    for other in sorted({artifact.device for artifact in artifacts if artifact.device} - {device}):
        made = [artifact for artifact in artifacts if artifact.device == other]
        missing = [artifact.path for artifact in artifacts if artifact.origin is None]
        rest = f"what is missing ({_listed(missing)})" if missing else "what has changed"
        yield (
            f"{_made(made)} on {other}, and {rest} would be made here on {device}, the device of {stage} in"
            f" machine.yaml: {CONSEQUENCE}; {AGAIN.format(_targets(made), stage, other)}"
        )


def _before_training(expert: str, group: Sequence[Artifact], device: str | None) -> Iterator[str]:
    """Yield a sentence where an expert that is absent would be trained elsewhere than its embeddings were made."""
    absent = all(artifact.origin is None for artifact in group if artifact.stage == "finetuning")
    read = [a for a in group if a.stage == "embedding" and a.device not in (None, device)]
    if device is None or not absent or not read:
        return
    others = SEPARATOR.join(sorted({str(artifact.device) for artifact in read}))
    yield (
        f"{_made(read)} on {others}, and the expert {expert!r}, which is trained on it, would be trained on {device},"
        f" the device of finetuning in machine.yaml: {CONSEQUENCE};"
        f" {AGAIN.format(_targets(read), 'finetuning', read[0].device)}"
    )


def _different(reading: str, group: Sequence[Artifact]) -> Iterator[str]:
    """Yield a sentence where existing artifacts differ in device, else one a request where they differ in precision."""
    by_device = _by((artifact.device, artifact) for artifact in group)
    if len(by_device) > 1:
        first, *others = by_device
        again = _targets([artifact for other in others for artifact in by_device[other]])
        yield (
            f"what {reading} comes from different devices, {_sides(by_device)}: {CONSEQUENCE}; make one side again"
            f" (dvc repro -f -s {again}, with device: {first} in machine.yaml)"
        )
        return
    for requested in dict.fromkeys(artifact.requested for artifact in group):
        same = [artifact for artifact in group if artifact.requested == requested]
        by_precision = _by((None if a.origin is None else a.origin.precision, a) for a in same)
        if len(by_precision) > 1:
            first, *others = by_precision
            again = _targets([artifact for other in others for artifact in by_precision[other]])
            yield (
                f"what {reading} comes from different precisions, {_sides(by_precision)}: {CONSEQUENCE}; make one side"
                f" again (dvc repro -f -s {again}) on a machine that computes in {first}"
            )


def _by(pairs: Iterable[tuple[str | None, Artifact]]) -> dict[str, list[Artifact]]:
    """Return the artifacts by what is known of them, the value of most first."""
    groups: dict[str, list[Artifact]] = {}
    for value, artifact in pairs:
        if value is not None:
            groups.setdefault(value, []).append(artifact)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _sides(groups: dict[str, list[Artifact]]) -> str:
    return ", ".join(f"{value} ({_listed([a.path for a in made])})" for value, made in groups.items())


def _listed(paths: Sequence[str]) -> str:
    """Return the first three paths, and how many more there are."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _made(artifacts: Sequence[Artifact]) -> str:
    return f"{_listed([artifact.path for artifact in artifacts])} {'was' if len(artifacts) == 1 else 'were'} made"


def _target(artifact: Artifact) -> str:
    return f"{artifact.stage}@{artifact.entry}" if artifact.entry else artifact.stage


def _targets(artifacts: Sequence[Artifact]) -> str:
    """Return DVC's names of the stages that make them."""
    return " ".join(dict.fromkeys(_target(artifact) for artifact in artifacts))
