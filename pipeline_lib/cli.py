"""The command ``ser``: everything that is not a stage of dvc.yaml.

What a command computes is imported when it runs, so that ``ser --help`` needs neither torch nor pandas.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline_lib import telemetry
from pipeline_lib.bundle import sharing
from pipeline_lib.bundle.command import bundle
from pipeline_lib.command import guarded, start
from pipeline_lib.conversion.command import convert
from pipeline_lib.evaluation import command as evaluation
from pipeline_lib.prediction import command as prediction
from pipeline_lib.rehearsal import command as rehearsal
from pipeline_lib.robustness.command import robustness

telemetry.off()
PARAMS = Path("params.yaml")
MANIFEST = Path("data/manifest.parquet")
RECIPES = sorted(path.stem for path in (Path(__file__).parent / "recipes").glob("*.yaml"))
PAPERS = sorted(path.stem for path in (Path(__file__).parent / "recipes" / "papers").glob("*.yaml"))

app = typer.Typer(
    help="Speech emotion recognition: recipes, checks, conversions, submissions and figures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plot = typer.Typer(
    help="Draw the layer weights of experts, or embeddings in the plane; let dvc plots draw offline.",
    no_args_is_help=True,
)


@app.command("apply")
@guarded
def _apply(
    name: Annotated[str, typer.Argument(help=f"one of {', '.join(RECIPES)}")],
    small: Annotated[bool, typer.Option("--small", help="on synthetic speech and the checkpoints that ship")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", "-S", help="key=value, as in dvc exp run -S")] = None,
    paths: Annotated[list[str] | None, typer.Option("--path", help="OLD=NEW, wherever a path stands")] = None,
    out: Path = PARAMS,
) -> None:
    """Write params.yaml from a recipe and remove the outputs that it no longer names."""
    from pipeline_lib.recipes.apply import apply

    apply(name, small=small, sets=sets or (), paths=paths or (), out=out)


@app.command("start")
@guarded
def _start(
    target: Annotated[Path, typer.Argument(metavar="FOLDER|TABLE", help="a corpus, or a table of its recordings")],
    language: Annotated[str | None, typer.Option(help="what is spoken: en, de, ur ...")] = None,
    encoder: Annotated[str | None, typer.Option(help="folder or name on the hub, of audio; or egemaps")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="folder or name on the hub, of text")] = None,
    asr: Annotated[str | None, typer.Option(help="Whisper's folder, a .nemo file, or a name on the hub")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the table: the emotion")] = None,
    audio: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the table: the recording")] = None,
    speaker: Annotated[str | None, typer.Option(help="column; of a folder: a pattern in its paths")] = None,
    text: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the table: the words spoken")] = None,
    root: Annotated[Path | None, typer.Option(help="folder of the table's recordings, if not the table's")] = None,
    out: Annotated[Path, typer.Option(help="the clone whose params.yaml is written")] = Path(),
) -> None:
    """Look at a corpus of your own, say what is there, and write a params.yaml that runs."""
    from pipeline_lib.start import write
    from pipeline_lib.start.proposal import Requests

    given = {"emotion": label, "audio": audio, "speaker": speaker, "reference_text": text}
    write.start(target, requests=Requests(language, encoder, text_encoder, asr), given=given, root=root, project=out)


@app.command("check")
@guarded
def _check(params: Path = PARAMS) -> None:
    """Check params.yaml and machine.yaml, and that corpus and checkpoints are there; warn where devices would mix."""
    from pipeline_lib.doctor import mixing
    from pipeline_lib.doctor.splits import warn_of_splits
    from pipeline_lib.params.check import check
    from pipeline_lib.params.machine import read_machine

    mixing.warn(check(params), read_machine())
    warn_of_splits(params)
    print(f"{params} can be run")


@app.command("show")
@guarded
def _show(
    changed: Annotated[bool, typer.Option("--changed", help="required keys and other values than the default")] = False,
    params: Path = PARAMS,
) -> None:
    """Print params.yaml as the stages read it, defaults filled in."""
    from pipeline_lib.recipes.show import show

    print(show(params, changed=changed), end="")


@app.command("doctor")
@guarded
def _doctor(
    fix: Annotated[bool, typer.Option("--fix", help="remove what the table says can be removed")] = False,
    end_orphans: Annotated[
        bool, typer.Option("--end-orphans", help="with --fix: end processes of earlier runs too")
    ] = False,
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="remove the cache of transcripts and layers; --fix alone does not")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="check at the hub that each checkpoint may be read")] = False,
    dvc_only: Annotated[bool, typer.Option("--dvc-only", help="DVC's own files alone, no output if well")] = False,
) -> None:
    """Check installation, GPU, parameters, corpus, DVC's locks, orphans, leftovers, cache and disk."""
    from pipeline_lib.doctor.examine import diagnose

    if not diagnose(fix=fix, end_orphans=end_orphans, clear_cache=clear_cache, online=online, dvc_only=dvc_only):
        sys.exit(1)


@app.command("table")
@guarded
def _table(
    paper: Annotated[str, typer.Argument(help=f"one of {', '.join(PAPERS)}")],
    out: Path = Path("metrics/paper_tables"),
    path: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="as it was given to ser apply")] = None,
) -> None:
    """Write a paper's tables, published next to obtained."""
    from pipeline_lib.recipes.paper_table import write_tables

    write_tables(paper, out, path or [])


@app.command("submission")
@guarded
def _submission(
    table: Annotated[Path | None, typer.Argument(help="predictions, data/fused.parquet for example")] = None,
    task: Annotated[
        Literal["categories", "attributes"], typer.Option(help="task 1 is categories, task 2 attributes")
    ] = "categories",
    split: Annotated[str, typer.Option(help="a split or subset of the manifest")] = "test3",
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("submission.csv"),
    manifest_path: Annotated[Path, typer.Option("--manifest")] = MANIFEST,
    check: Annotated[Path | None, typer.Option(help="check this file in place of writing one")] = None,
) -> None:
    """Write TABLE as an MSP-Podcast challenge submission, or --check one."""
    from pipeline_lib.scoring.submission import submit

    submit(table, task, split, out, manifest_path, check)


@app.command("checksums")
@guarded
def _checksums(root: Annotated[Path, typer.Argument(help="folder of the corpus")]) -> None:
    """Write SHA256SUMS beside the recordings of a corpus; the corpus stage then verifies every file."""
    from pipeline_lib.corpus.checksums import SUMS, write

    print(f"{write(root)} files in {root / SUMS}")


@app.command("alignment")
@guarded
def _alignment(
    expert: Annotated[str, typer.Argument(help="an entry of the section finetuning, trained")],
    split: Annotated[str, typer.Option(help="split or subset of the utterances")] = "test",
    largest: Annotated[int, typer.Option(help="utterances that are drawn at most", min=2)] = 300,
    seed: Annotated[int, typer.Option(help="of the draw", min=0)] = 1,
    params: Path = PARAMS,
    manifest_path: Path = MANIFEST,
    transcripts_path: Path = Path("data/transcripts.parquet"),
    models: Path = Path("models"),
    out: Path = Path("metrics/finetuning"),
) -> None:
    """Count an expert's parameters, and measure how well a shared transformer aligns audio and text."""
    from pipeline_lib.reports.alignment import write_report

    write_report(expert, split, largest, seed, params, manifest_path, transcripts_path, models, out)


@app.command("schema")
@guarded
def _schema(out: Annotated[Path | None, typer.Option(help="in place of the package's own file")] = None) -> None:
    """Write the JSON schema that editors read params.yaml by."""
    from pipeline_lib.params.schema import SCHEMA, text

    (out or SCHEMA).write_text(text(), encoding="utf-8")


@plot.command("layer-weights")
@guarded
def _plot_layer_weights(
    experts: Annotated[list[str], typer.Argument(help="entries of finetuning, trained with layers: weighted")],
    models: Path = Path("models"),
    manifest_path: Path = MANIFEST,
    out: Path = Path("metrics"),
) -> None:
    """Draw how much of each layer of its encoder an expert takes."""
    from pipeline_lib.reports.layer_weights import write_figure

    write_figure(experts, models, manifest_path, out)


@plot.command("projection")
@guarded
def _plot_projection(
    systems: Annotated[list[str], typer.Argument(help="NAME=PATH of embeddings or of an expert's predictions")],
    split: Annotated[str, typer.Option(help="split or subset that is drawn")] = "test",
    layer: Annotated[int | None, typer.Option(help="of embeddings; by default the last one")] = None,
    largest: Annotated[int, typer.Option(help="more utterances than these are sampled", min=5)] = 2000,
    perplexity: Annotated[float, typer.Option(help="of t-SNE: how many neighbours count", min=1.0)] = 30.0,
    seed: Annotated[int, typer.Option(help="of t-SNE and of the sample", min=0)] = 1,
    manifest_path: Path = MANIFEST,
    out: Path = Path("metrics/figures/projection"),
) -> None:
    """Draw embeddings of one or more systems in the plane, with the silhouette of the emotions."""
    from pipeline_lib.reports.projection import write_figure

    write_figure(systems, split, layer, largest, perplexity, seed, manifest_path, out)


@plot.command("offline")
@guarded
def _plot_offline(
    out: Annotated[Path, typer.Option(help="the script that the page loads")] = Path(".venv/vega.js"),
) -> None:
    """Write the script with which dvc plots show draws without a network; make install does."""
    from pipeline_lib.reports.offline import write_script

    write_script(out)
    print(f"dvc plots show draws by {out}")


app.command("bundle")(guarded(bundle))
app.command("evaluate")(guarded(evaluation.evaluate))
app.command("predict")(guarded(prediction.predict))
app.command("pull")(guarded(sharing.pull))
app.command("push")(guarded(sharing.push))
convert.command("onnx")(guarded(sharing.onnx))
app.command("rehearse")(guarded(rehearsal.rehearse))
app.command("robustness")(guarded(robustness))
app.add_typer(convert, name="convert")
app.add_typer(plot, name="plot")


def main() -> None:
    """Run ``ser``."""
    start(app)


if __name__ == "__main__":
    main()
