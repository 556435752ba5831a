"""corpus: corpus.root -> data/manifest.parquet, data/{quarantine,leaks}.parquet, metrics/corpus.json"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline_lib.command import run
from pipeline_lib.corpus.collect import collect
from pipeline_lib.params.base import PARAMS
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.machine import read_machine
from pipeline_lib.storage import atomic
from pipeline_lib.tables import leaks, manifest


def main(
    params: Path = PARAMS,
    machine_path: Annotated[Path | None, typer.Option("--machine", help="in place of machine.yaml")] = None,
    out: Path = Path("data/manifest.parquet"),
    quarantine: Path = Path("data/quarantine.parquet"),
    metrics: Path = Path("metrics/corpus.json"),
    leaks_path: Annotated[Path | None, typer.Option("--leaks", help="leaks.parquet beside the manifest")] = None,
) -> None:
    """Read the corpus that params.yaml names, check every recording, lay down splits and subsets."""
    collected = collect(CorpusSettings.read("corpus", params), read_machine(machine_path).corpus.workers)
    manifest.write(out, collected.manifest)
    manifest.write_quarantine(quarantine, collected.quarantine)
    leaks.write(leaks_path or out.with_name("leaks.parquet"), collected.leaks)
    atomic.write_file(metrics, json.dumps(collected.metrics, indent=2, ensure_ascii=False) + "\n")
    for notice in collected.notices:
        print(f"warning: {notice}", file=sys.stderr)
    if collected.leaks.protocol:
        print(collected.leaks.protocol)
    if collected.metrics["warnings"]:
        print(f"warning: {collected.metrics['warnings']}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
