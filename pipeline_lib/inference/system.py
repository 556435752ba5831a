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

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline_lib.embedding.embed import embed
from pipeline_lib.encoders.text import Text
from pipeline_lib.experts.utterances import in_context, reference_texts
from pipeline_lib.fusion import model as fusion_models
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.inference import experts
from pipeline_lib.inference.members import Member, members_of
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.run import CROSSFITTED, FUSED, Run, relative
from pipeline_lib.rebalancing import model as models
from pipeline_lib.rebalancing import source as sources
from pipeline_lib.rebalancing.source import Source
from pipeline_lib.tables import predictions, transcripts
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.transcription.transcribe import transcribe as recognise

__all__ = ["CROSSFITTED", "FUSED", "apply", "transcribe"]


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
    run = _Files(Project.read(project, work), manifest, out, root)
    tables = run.project.params.scoring.tables
    fused = [f"data/rebalanced/{name}.parquet" for name in run.project.fusion.experts]
    run.make([*tables.values(), *fused])
    paths: dict[str, Path] = {}
    for name, table in sorted(tables.items(), key=lambda item: item[1] == CROSSFITTED):
        path = out / relative(FUSED if table == CROSSFITTED else table)
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
    run = _Files(Project.read(project, work), manifest, out, root)
    run.texts()
    return out / "transcripts.parquet"


class _Files(Run):
    """One application of a project's system to a manifest, with its tables in files.

    Args:
        project: of the system
        manifest: the utterances
        out: folder of the tables
        root: folder that audio paths start from, None for the project's corpus
    """

    project: Project

    def __init__(self, project: Project, manifest: Manifest, out: Path, root: Path | None) -> None:
        super().__init__(project, manifest, members_of(project, manifest))
        self.out, self.root = out, project.root if root is None else root
        self._texts: list[str] | None = None

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

    def embed(self, name: str) -> None:
        """Write the layers of an entry of embedding."""
        settings, out = self.project.embedding(name), self.out / "embeddings" / name
        texts: Sequence[Text | None] | None = None
        if settings.modality == "text":
            own = self.texts() if settings.text == "transcripts" else reference_texts(self.manifest)
            texts = in_context(self.manifest, own, own, settings.context) if settings.context else own
        embed(self.manifest, self.root, texts, settings, out, self.project.work, self.project.machine.embedding)
        self.project.check_embedding(name, out)

    def predict(self, name: str, member: Member, stems: Mapping[str, str], by_member: bool) -> None:
        """Write what one member's expert predicts, see ``Run``."""
        reads = experts.reads_transcripts(self.project, name, member)
        inputs = experts.Inputs(self.manifest, self.root, self.texts() if reads else None, by_member)
        experts.write_member(self.project, name, member, stems, inputs, self.out)

    def source(self, model: models.Model) -> Source:
        """Return what an entry of rebalancing reads, from its table or folder."""
        reads = model.settings.reads
        here = reads.model_copy(update={"source": str(self.out / relative(reads.source))})
        return sources.read(model.settings.model_copy(update={"reads": here}), self.manifest, model.name)

    def write(self, path: str, table: Predictions) -> None:
        """Write a table."""
        predictions.write(self.out / path, table)

    def read(self, path: str) -> Predictions:
        """Return a table, verified."""
        return predictions.read(self.out / path)

    def model_of(self, folder: Path) -> models.Model:
        """Return the model of an entry of rebalancing."""
        return models.read(folder)

    def fusion_of(self, folder: Path) -> Loaded:
        """Return a fitted fusion."""
        return fusion_models.read(folder)
