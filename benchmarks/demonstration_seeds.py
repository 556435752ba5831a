"""The demonstration under several seeds, each from its own corpus to its own scores.

``python -m benchmarks.demonstration_seeds`` runs every stage of the default's for SEEDS (corpus, embeddings, experts
and all) in folders of their own under ``work/seeds/``, prints a row a seed, and mean, deviation and worst of the
headline. A stage that has finished with the same code and parameters is not run again, so that the same command goes on
after an interruption. With ``--shuffle`` the training labels are shuffled first: experts that still beat chance would
show a leak.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ruamel.yaml import YAML

from pipeline_lib.command import run
from pipeline_lib.recipes.apply import change, compose
from pipeline_lib.scoring.cells import number
from pipeline_lib.storage.fingerprint import code_digest, fingerprint
from pipeline_lib.tables import manifest

SEEDS = (11, 12, 13, 14, 15)  # none was looked at while anything was tuned; 1 to 5 were
ENTRIES = ("embedding", "finetuning", "rebalancing")
SHOWN = ("audio", "text", "fused")
HEADER = ("seed", "WER test", "audio macro-F1", "text", "fused", "better expert", "gain", "p")


def seeded(seed: int, sets: list[str]) -> dict[str, Any]:
    """Return the default's parameters with the corpus and every expert under a seed.

    Args:
        seed: of corpus and experts
        sets: ``key=value``, further changes
    """
    params = compose("default")
    params["demonstration"]["english"]["seed"] = seed
    for expert in params["finetuning"].values():
        expert["seed"] = seed
    for assignment in sets:
        change(params, assignment)
    return params


def stages_of(params: dict[str, Any]) -> list[str]:
    """Return the commands of all stages in their order, ``finetuning audio`` for example."""
    entries = [f"{section} {name}" for section in ENTRIES for name in params[section]]
    corpora = [f"demonstration {name}" for name in params["demonstration"]]
    return ["check", *corpora, "corpus", "transcription", *entries, "fusion", "scoring"]


def lay(folder: Path, params: dict[str, Any]) -> None:
    """Make a folder in which the stages can run: the code and checkpoints by link, and the parameters.

    Args:
        folder: to be made, or that of an interrupted run
        params: of params.yaml
    """
    for name in ("pipeline_lib", "stages", "corpora", "models/demo"):
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(name).absolute())
    YAML().dump(params, folder / "params.yaml")


def shuffle(path: Path, seed: int) -> None:
    """Shuffle emotions and attributes among the training utterances of a manifest.

    Args:
        path: of the manifest, which is written again
        seed: of the shuffle
    """
    corpus = manifest.read(path)
    train = np.flatnonzero(corpus.mask("train"))
    order = np.random.default_rng([seed, 99]).permutation(train)
    for column in ("emotion", "votes", "arousal", "valence", "dominance"):
        values = corpus.frame[column].to_numpy(copy=True)
        values[train] = values[order]
        corpus.frame[column] = values
    manifest.write(path, corpus)


def run_stages(folder: Path, names: list[str], digest: str, threads: int, shuffle_seed: int | None) -> None:
    """Run the stages that have not finished, in their order, stopping at the first that fails.

    Args:
        folder: see ``lay``
        names: of the stages
        digest: of code and parameters; under another one all are run
        threads: of the arithmetic, the same on every machine
        shuffle_seed: the training labels are shuffled behind the corpus stage with this seed; None: they are not
    """
    record = folder / "finished.json"
    done = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    finished = done["stages"] if done.get("digest") == digest else []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    for name in names[len(finished) :]:
        command = [sys.executable, "-m", f"stages.{name.split()[0]}", *name.split()[1:]]
        subprocess.run(command, cwd=folder, env=environment, check=True)
        if name == "corpus" and shuffle_seed is not None:
            shuffle(folder / "data/manifest.parquet", shuffle_seed)
        finished = [*finished, name]
        record.write_text(json.dumps({"digest": digest, "stages": finished}), encoding="utf-8")


def row(seed: int, scores: dict[str, Any], transcription: dict[str, Any]) -> str:
    """Return one line: WER, macro-F1 with its interval a system, the gain of fusion and its p.

    Args:
        seed: of the run
        scores: its metrics/details.json
        transcription: its metrics/transcription.json
    """
    test = scores["test"]
    cells = [str(seed), f"{transcription['test']['wer']:.2%}"]
    cells += [number(test[name], "macro_f1", ".3f") for name in SHOWN]
    gain = test["fused_minus_best"]
    return _line([*cells, gain["best"], number(gain, "macro_f1", "+.3f"), f"{gain['p']:.4f}"])


def summary(details: list[dict[str, Any]]) -> list[str]:
    """Return mean, deviation (n - 1) and worst of the headline, fused macro-F1 on test, and of the gain.

    Args:
        details: metrics/details.json of each seed
    """
    values = {
        "fused macro-F1": [each["test"]["fused"]["macro_f1"] for each in details],
        "gain over the better expert": [each["test"]["fused_minus_best"]["macro_f1"] for each in details],
    }
    return [
        f"{name}: mean {np.mean(each):.4f}, deviation {np.std(each, ddof=1) if len(each) > 1 else float('nan'):.4f},"
        f" worst {min(each):.4f}, of {len(each)} seeds"
        for name, each in values.items()
    ]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def main(
    seeds: Annotated[list[int] | None, typer.Option(help="which seeds; 11 to 15 by default")] = None,
    shuffled: Annotated[bool, typer.Option("--shuffle", help="shuffle the training labels first")] = False,
    threads: Annotated[int, typer.Option(help="of the arithmetic", min=1)] = 1,
    until: Annotated[str | None, typer.Option(help="the last stage to run, 'embedding audio' for example")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", "-S", help="key=value, for a trial")] = None,
    work: Path = Path("work/seeds"),
) -> None:
    """Run the demonstration under each seed and print a table."""
    rows, details = [], []
    for seed in seeds or SEEDS:
        folder = work / (f"{seed}_shuffled" if shuffled else str(seed))
        params = seeded(seed, sets or [])
        lay(folder, params)
        names = stages_of(params)
        digest = fingerprint(code_digest(Path("pipeline_lib"), Path("stages")), params, threads)
        last = names.index(until) + 1 if until else len(names)
        run_stages(folder, names[:last], digest, threads, seed if shuffled else None)
        if until is None:
            read = [json.loads((folder / f"metrics/{name}.json").read_text()) for name in ("details", "transcription")]
            rows.append(row(seed, *read))
            details.append(read[0])
    if details:
        print(_line(HEADER), _line(["---"] * len(HEADER)), *rows, "", *summary(details), sep="\n")
        (work / "summary.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
