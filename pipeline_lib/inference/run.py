"""The order in which a trained system's tables are computed from each other, wherever they are kept.

A subclass says what computes the first of them, transcripts, embeddings and experts' predictions, and where tables are:
``system`` has them in files, ``memory`` in memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.inference import fusion as fusions
from pipeline_lib.inference.members import Member
from pipeline_lib.inference.system_protocol import System
from pipeline_lib.modalities import BOTH
from pipeline_lib.rebalancing import model as models
from pipeline_lib.rebalancing.source import Source
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.folds import joined
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.tables.predictions import Predictions

FUSED, CROSSFITTED = "data/fused.parquet", "data/fused_crossfitted.parquet"


class Run(ABC):
    """One application of a system to a manifest.

    Args:
        project: the system
        manifest: the utterances
        members: those that predict any of them
    """

    def __init__(self, project: System, manifest: Manifest, members: Sequence[Member]) -> None:
        self.project, self.manifest, self.members = project, manifest, members
        self._read: dict[str, list[tuple[Member | None, models.Model]]] = {}

    @abstractmethod
    def embed(self, name: str) -> None:
        """Compute the layers of an entry of embedding."""

    @abstractmethod
    def predict(self, name: str, member: Member, stems: Mapping[str, str], by_member: bool) -> None:
        """Keep what one member's expert predicts.

        Args:
            name: of the expert
            member: of the system
            stems: of the tables by combination of modalities, ``both`` among them
            by_member: whether the member predicts its own utterances alone
        """

    @abstractmethod
    def source(self, model: models.Model) -> Source:
        """Return what an entry of rebalancing reads."""

    @abstractmethod
    def write(self, path: str, table: Predictions) -> None:
        """Keep a table.

        Args:
            path: below ``data/``
            table: under that path
        """

    @abstractmethod
    def read(self, path: str) -> Predictions:
        """Return a table that was written, of its path below ``data/``."""

    @abstractmethod
    def model_of(self, folder: Path) -> models.Model:
        """Return the model of an entry of rebalancing."""

    @abstractmethod
    def fusion_of(self, folder: Path) -> Loaded:
        """Return a fitted fusion."""

    def make(self, tables: Sequence[str]) -> None:
        """Compute tables and all that they are made of, and the fused one.

        Args:
            tables: paths of ``data/``; a fused one takes what the others include
        """
        rebalanced = list(dict.fromkeys(_named(path, "rebalanced") for path in tables if _is(path, "rebalanced")))
        read = [path for path in tables if not _is(path, "rebalanced") and path not in (FUSED, CROSSFITTED)]
        read += [model.settings.reads.source for name in rebalanced for _, model in self.models_of(name)]
        for name in sorted({_named(path, "embeddings") for path in read if _is(path, "embeddings")}):
            self.embed(name)
        combinations: dict[str, set[str]] = {}
        for path in read:
            if not _is(path, "embeddings"):
                name, combination = expert_of(path)
                combinations.setdefault(name, set()).add(combination)
        for name, of_expert in sorted(combinations.items()):
            self._predict(name, sorted(of_expert - {BOTH}), self._by_member(name, rebalanced))
        for name in rebalanced:
            self._rebalance(name)
        self._fuse()

    def models_of(self, name: str) -> list[tuple[Member | None, models.Model]]:
        """Return an entry's model of each member; of an entry without folds the one, whatever the members."""
        if name not in self._read:
            folder = self.project.models / "rebalancing" / name
            members: list[Member | None] = [*self.members] if (folder / name_of(0)).is_dir() else [None]
            read = (self.model_of(folder if member is None else member.folder(folder)) for member in members)
            self._read[name] = list(zip(members, read, strict=True))
        return self._read[name]

    def _predict(self, name: str, combinations: Sequence[str], by_member: bool) -> None:
        """Keep an expert's predictions from all its modalities and from each of some combinations, of folds joined."""
        stems = {BOTH: f"predictions/{name}"} | {each: f"predictions_alone/{name}/{each}" for each in combinations}
        for member in self.members:
            self.predict(name, member, stems, by_member)
        if self.members[0].fold is not None:
            for stem in stems.values():
                tables = [member.own(self.read(member.table(stem)), self.manifest) for member in self.members]
                self.write(f"{stem}.parquet", joined(tables, manifest=self.manifest))

    def _by_member(self, name: str, rebalanced: Sequence[str]) -> bool:
        """Return whether members predict their own utterances alone, which a normalisation by speaker forbids."""
        settings = [model.settings for entry in rebalanced for _, model in self.models_of(entry)]
        normalised = [each.reads.source for each in settings if each.normalise == "speaker"]
        return not any(expert_of(path)[0] == name for path in normalised)

    def _rebalance(self, name: str) -> None:
        """Keep the table of an entry, of folds also each member's."""
        tables, stem = [], f"rebalanced/{name}"
        for member, model in self.models_of(name):
            table = self.rebalanced(model)
            if member is not None and member.fold is not None:
                table = member.own(table, self.manifest)
                self.write(member.table(stem), table)
            tables.append(table)
        of_folds = self.models_of(name)[0][0] is not None
        self.write(f"{stem}.parquet", joined(tables, manifest=self.manifest) if of_folds else tables[0])

    def rebalanced(self, model: models.Model) -> Predictions:
        """Return the table that a model of rebalancing makes of what it reads."""
        return models.apply(model, self.source(model))

    def _fuse(self) -> None:
        settings, tables = self.project.fusion, []
        for member in self.members:
            fitted = self.fusion_of(member.folder(self.project.models / "fusion"))
            given = [self.read(member.table(f"rebalanced/{name}")) for name in settings.experts]
            tables.append(fusions.apply(fitted, given, keep(self.manifest, member.rows), settings.tuning))
        self.write(
            relative(FUSED), tables[0] if self.members[0].fold is None else joined(tables, manifest=self.manifest)
        )


def relative(path: str) -> str:
    """Return a path of ``data/`` relative to it."""
    return PurePosixPath(path).relative_to("data").as_posix()


def sources_of(tables: Sequence[models.Model]) -> tuple[list[str], list[str]]:
    """Return the entries of embedding and the experts that models of rebalancing read, sorted.

    Raises:
        InputError: a model reads what no model computes
    """
    read = [model.settings.reads.source for model in tables]
    embedded = {_named(path, "embeddings") for path in read if _is(path, "embeddings")}
    return sorted(embedded), sorted({expert_of(path)[0] for path in read if not _is(path, "embeddings")})


def _is(path: str, kind: str) -> bool:
    return PurePosixPath(path).parts[:2] == ("data", kind)


def _named(path: str, kind: str) -> str:
    """Return the entry that writes a table or folder of ``data/<kind>/``."""
    return PurePosixPath(path).relative_to(f"data/{kind}").parts[0].removesuffix(".parquet")


def expert_of(path: str) -> tuple[str, str]:
    """Return the expert and the combination of modalities whose predictions a path holds.

    Raises:
        InputError: it holds no trained expert's
    """
    match PurePosixPath(path).parts:
        case ("data", "predictions", file):
            return file.removesuffix(".parquet"), BOTH
        case ("data", "predictions_folds", name, _):
            return name, BOTH
        case ("data", "predictions_alone", name, file):
            return name, file.removesuffix(".parquet")
    raise InputError(
        f"the system reads {path}, which no model of the project computes from recordings or texts; leave the entry"
        " that reads it out of scoring.tables and fusion.experts"
    )
