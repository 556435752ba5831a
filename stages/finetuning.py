"""finetuning: data/manifest.parquet, data/transcripts.parquet -> models/<expert>/, data/predictions/<expert>.parquet

data/predictions_alone/<expert>/ has audio.parquet, text.parquet and so on: predictions of an expert of several
modalities from each combination of some of them. An expert of one modality has none.txt there, which says so.

With ``folds: true`` models/<expert>/ has an expert a fold, data/predictions_folds/<expert>/ what each of them predicts,
and the other tables are out of fold. Without folds data/predictions_folds/<expert>/ has none.txt.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline_lib.command import run
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, read_value
from pipeline_lib.params.finetuning import read_entry
from pipeline_lib.params.machine import read_machine
from pipeline_lib.tables import folds, manifest, named_splits, predictions, transcripts


def main(
    expert: Annotated[str, typer.Argument(help="an entry of the section finetuning of params.yaml")],
    params: Path = PARAMS,
    machine_path: Annotated[Path | None, typer.Option("--machine", help="in place of machine.yaml")] = None,
    manifest_path: Path = Path("data/manifest.parquet"),
    transcripts_path: Path = Path("data/transcripts.parquet"),
    models: Path = Path("models"),
    out: Path = Path("data/predictions"),
    curves: Path = Path("metrics/plots/training"),
    work: Path = Path("work/finetuning"),
) -> None:
    """Train one expert and let it predict every utterance."""
    settings, machine = read_entry(f"finetuning.{expert}", params), read_machine(machine_path).finetuning
    corpus = manifest.read(manifest_path)
    named_splits.refuse_wrong(corpus, params)
    texts = None
    if "text" in settings.branches and settings.text == "transcripts":
        texts = transcripts.read(transcripts_path).aligned(list(corpus.ids))
    if folds.count(corpus) and not settings.folds:
        raise InputError(f"{corpus.corpus} has folds and finetuning.{expert}.folds is false: set it to true")
    from pipeline_lib.finetuning import fold_outputs  # torch: after what can be refused without it
    from pipeline_lib.finetuning import folds as by_fold
    from pipeline_lib.finetuning.finetune import discard, finetune

    root = Path(read_value("corpus.root", params))
    alone, tables = (out.with_name(f"{out.name}_{kind}") / expert for kind in ("alone", "folds"))
    paths = {"expert": models / expert, "curve": curves / f"{expert}.csv", "alone": alone, "work": work}
    if settings.folds:
        of_folds = by_fold.finetune(expert, settings, corpus, root, texts, tables=tables, machine=machine, **paths)
        if of_folds is not None:
            predictions.write(out / f"{expert}.parquet", of_folds[0])
            fold_outputs.discard(of_folds[1])
        return
    done = finetune(expert, settings, corpus, root, texts, machine=machine, fold=None, **paths)
    if done is not None:
        by_fold.write_note(tables)
        predictions.write(out / f"{expert}.parquet", done[0])
        discard(done[1])


if __name__ == "__main__":
    run(main)
