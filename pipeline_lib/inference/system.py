"""Apply a trained system, the folder of a project, to any manifest with its saved models; nothing is fitted.

The tables lie below one folder as the stages lay theirs below ``data/``, each only where something reads it:

============================================  ========================================================================
transcripts.parquet                           of the engine of params.yaml, ``reference``: the manifest's texts
embeddings/<entry>/                           layers of an encoder
predictions/<expert>.parquet                  of a trained expert; predictions_alone/ from some of its modalities
rebalanced/<entry>.parquet                    by the models of models/rebalancing/<entry>/; EM's prior is the saved one
fused.parquet                                 by the model of models/fusion/
*_folds/<name>/fold<k>.parquet                of each member of a system of folds; the table of all is their joined one
============================================  ========================================================================

Which member of folds predicts what: ``members``. Of the utterances that the pipeline predicts too the tables are the
pipeline's. A second run goes on where a killed one ended: transcripts and layers are cached by their content in
``work/`` of the project, predictions by ``inputs.json`` beside the tables; the rest takes a moment.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline_lib.embedding.embed import embed
from pipeline_lib.encoders.text import Text
from pipeline_lib.errors import InputError
from pipeline_lib.experts.utterances import in_context, reference_texts
from pipeline_lib.fusion import model as fusion_models
from pipeline_lib.inference import experts
from pipeline_lib.inference import fusion as fusions
from pipeline_lib.inference.members import Member, members_of
from pipeline_lib.inference.project import Project
from pipeline_lib.modalities import BOTH
from pipeline_lib.rebalancing import model as models
from pipeline_lib.rebalancing import source as sources
from pipeline_lib.tables import predictions, transcripts
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.folds import joined
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.transcription.transcribe import transcribe as recognise

FUSED, CROSSFITTED = "data/fused.parquet", "data/fused_crossfitted.parquet"


def apply(
    project: Path, manifest: Manifest, out: Path, root: Path | None = None, work: Path | None = None
) -> dict[str, Path]:
    """Write the tables of the systems that the project's ``scoring.tables`` names, and of its fusion.

    Args:
        project: folder of params.yaml, ``models/`` and machine.yaml
        manifest: the utterances, of the project's corpus or any other; no label of it is read
        out: folder of the tables
        root: folder that the manifest's audio paths start from; None for the project's ``corpus.root``
        work: folder of the cache, None for ``work/`` of the project, which would then hold these recordings too

    Returns:
        the tables by the names of ``scoring.tables``; a cross-fitted row, since nothing is fitted, only where no other
        row names the fused table

    Raises:
        InputError: a model is missing, damaged or of other parameters, a table depends on more than recordings and
            texts, or see the stages' packages
    """
    run = _Run(Project.read(project, work), manifest, out, root)
    tables = run.project.params.scoring.tables
    fused = [f"data/rebalanced/{name}.parquet" for name in run.project.params.fusion.experts]
    run.make([*tables.values(), *fused])
    paths: dict[str, Path] = {}
    for name, table in sorted(tables.items(), key=lambda item: item[1] == CROSSFITTED):
        path = out / _relative(FUSED if table == CROSSFITTED else table)
        if table != CROSSFITTED or path not in paths.values():
            paths[name] = path
    return {name: paths[name] for name in tables if name in paths}


def transcribe(
    project: Path, manifest: Manifest, out: Path, root: Path | None = None, work: Path | None = None
) -> Path:
    """Write the transcripts by the project's recogniser alone, and return their table.

    Args:
        project: see ``apply``
        manifest: the utterances
        out: folder of the tables
        root: see ``apply``
        work: see ``apply``

    Raises:
        InputError: see ``transcription.transcribe.transcribe``
    """
    run = _Run(Project.read(project, work), manifest, out, root)
    run.texts()
    return out / "transcripts.parquet"


class _Run:
    """One application of a project's system to a manifest.

    Args:
        project: of the system
        manifest: the utterances
        out: folder of the tables
        root: folder that audio paths start from, None for the project's corpus
    """

    def __init__(self, project: Project, manifest: Manifest, out: Path, root: Path | None) -> None:
        self.project, self.manifest, self.out = project, manifest, out
        self.root = project.root if root is None else root
        self.members = members_of(project, manifest)
        self._texts: list[str] | None = None
        self._read: dict[str, list[tuple[Member | None, models.Model]]] = {}

    def make(self, tables: Sequence[str]) -> None:
        """Write the tables and all that they are made of.

        Args:
            tables: paths of ``data/``; a fused one takes what the others include
        """
        rebalanced = list(dict.fromkeys(_named(path, "rebalanced") for path in tables if _is(path, "rebalanced")))
        read = [path for path in tables if not _is(path, "rebalanced") and path not in (FUSED, CROSSFITTED)]
        read += [model.settings.reads.source for name in rebalanced for _, model in self._models(name)]
        for name in sorted({_named(path, "embeddings") for path in read if _is(path, "embeddings")}):
            self._embed(name)
        combinations: dict[str, set[str]] = {}
        for path in read:
            if not _is(path, "embeddings"):
                name, combination = _expert_of(path)
                combinations.setdefault(name, set()).add(combination)
        for name, of_expert in sorted(combinations.items()):
            self._predict(name, sorted(of_expert - {BOTH}), rebalanced)
        for name in rebalanced:
            self._rebalance(name)
        self._fuse()

    def texts(self) -> list[str]:
        """Return the transcripts in the manifest's order, written once."""
        if self._texts is None:
            work, machine = self.project.work, self.project.machine.transcription
            result = recognise(self.manifest, self.root, self.project.transcription, work, machine=machine)
            transcripts.write(
                self.out / "transcripts.parquet",
                list(self.manifest.ids),
                result.texts,
                engine=result.engine,
                checkpoint=result.checkpoint,
                decoding=result.decoding,
                origin=result.origin,
            )
            self._texts = result.texts
        return self._texts

    def _embed(self, name: str) -> None:
        settings, out = self.project.embedding(name), self.out / "embeddings" / name
        texts: Sequence[Text | None] | None = None
        if settings.modality == "text":
            own = self.texts() if settings.text == "transcripts" else reference_texts(self.manifest)
            texts = in_context(self.manifest, own, own, settings.context) if settings.context else own
        embed(self.manifest, self.root, texts, settings, out, self.project.work, self.project.machine.embedding)
        self.project.check_embedding(name, out)

    def _predict(self, name: str, combinations: Sequence[str], rebalanced: Sequence[str]) -> None:
        reads = experts.reads_transcripts(self.project, name, self.members[0])
        settings = [model.settings for entry in rebalanced for _, model in self._models(entry)]
        normalised = [each.reads.source for each in settings if each.normalise == "speaker"]
        by_member = not any(_expert_of(path)[0] == name for path in normalised)
        inputs = experts.Inputs(self.manifest, self.root, self.texts() if reads else None, by_member)
        experts.write_tables(self.project, name, self.members, combinations, inputs, self.out)

    def _models(self, name: str) -> list[tuple[Member | None, models.Model]]:
        """Return an entry's model of each member; of an entry without folds the one, whatever the members."""
        if name not in self._read:
            folder = self.project.models / "rebalancing" / name
            members: list[Member | None] = [*self.members] if (folder / name_of(0)).is_dir() else [None]
            read = (models.read(folder if member is None else member.folder(folder)) for member in members)
            self._read[name] = list(zip(members, read, strict=True))
        return self._read[name]

    def _rebalance(self, name: str) -> None:
        """Write the table of an entry, of folds also each member's."""
        tables, stem = [], f"rebalanced/{name}"
        for member, model in self._models(name):
            reads = model.settings.reads
            here = reads.model_copy(update={"source": str(self.out / _relative(reads.source))})
            settings = model.settings.model_copy(update={"reads": here})
            table = models.apply(model, sources.read(settings, self.manifest, name))
            if member is not None and member.fold is not None:
                table = member.own(table, self.manifest)
                predictions.write(self.out / member.table(stem), table)
            tables.append(table)
        of_folds = self._models(name)[0][0] is not None
        table = joined(tables, manifest=self.manifest) if of_folds else tables[0]
        predictions.write(self.out / f"{stem}.parquet", table)

    def _fuse(self) -> None:
        settings, tables = self.project.params.fusion, []
        for member in self.members:
            fitted = fusion_models.read(member.folder(self.project.models / "fusion"))
            paths = [self.out / member.table(f"rebalanced/{name}") for name in settings.experts]
            given = [predictions.read(path) for path in paths]
            tables.append(fusions.apply(fitted, given, keep(self.manifest, member.rows), settings.tuning))
        fused = tables[0] if self.members[0].fold is None else joined(tables, manifest=self.manifest)
        predictions.write(self.out / _relative(FUSED), fused)


def _relative(path: str) -> PurePosixPath:
    """Return a path of ``data/`` relative to it."""
    return PurePosixPath(path).relative_to("data")


def _is(path: str, kind: str) -> bool:
    return PurePosixPath(path).parts[:2] == ("data", kind)


def _named(path: str, kind: str) -> str:
    """Return the entry that writes a table or folder of ``data/<kind>/``."""
    return PurePosixPath(path).relative_to(f"data/{kind}").parts[0].removesuffix(".parquet")


def _expert_of(path: str) -> tuple[str, str]:
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
