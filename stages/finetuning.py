"""finetuning: data/manifest.parquet, data/transcripts.parquet -> models/<expert>/, data/predictions/<expert>.parquet

data/predictions_alone/<expert>/ has audio.parquet, text.parquet and so on: predictions of an expert of several
modalities from each combination of some of them. An expert of one modality has none.txt there, which says so.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline_lib.command import run
from pipeline_lib.params.base import PARAMS, read_value
from pipeline_lib.params.finetuning import read_entry
from pipeline_lib.params.machine import read_machine
from pipeline_lib.tables import manifest, predictions, transcripts


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
    texts = None
    if "text" in settings.branches and settings.text == "transcripts":
        texts = transcripts.read(transcripts_path).aligned(list(corpus.ids))
    from pipeline_lib.finetuning.finetune import discard, finetune  # torch: after what can be refused without it

    root = Path(read_value("corpus.root", params))
    alone = out.with_name(f"{out.name}_alone") / expert
    places = {"expert": models / expert, "curve": curves / f"{expert}.csv", "alone": alone}
    done = finetune(expert, settings, corpus, root, texts, work=work, machine=machine, **places)
    if done is not None:
        found, unfinished = done
        predictions.write(out / f"{expert}.parquet", found)
        discard(unfinished)


if __name__ == "__main__":
    run(main)
