"""scoring: data/{manifest,leaks}.parquet, predictions -> metrics/{scores,details}.json, report.md, audit.*, plots/"""

import json
import sys
from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.base import read_params, read_value
from pipeline_lib.params.scoring import ScoringSettings, leave_out_fusion
from pipeline_lib.scoring.audit import audit, records, sentence
from pipeline_lib.scoring.audit_page import page, table
from pipeline_lib.scoring.contamination import contamination, names_of, used_checkpoints
from pipeline_lib.scoring.headline import headline_system, summary
from pipeline_lib.scoring.learning import read_curves, section
from pipeline_lib.scoring.lineage import cautions_of_given
from pipeline_lib.scoring.made_on import KEY, made_on
from pipeline_lib.scoring.plots import write_plots, write_systems
from pipeline_lib.scoring.report import below_baselines, not_computed, report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align
from pipeline_lib.scoring.tuning import cautions_of_tuning
from pipeline_lib.storage import atomic
from pipeline_lib.tables import leaks, manifest, named_splits, predictions


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("metrics"),
    rebalancing: Path = Path("metrics/rebalancing"),
) -> None:
    """Score every system that params.yaml names, with intervals and a comparison; list the likeliest label errors."""
    params = read_params()
    if unfused := leave_out_fusion(params):
        print(f"left out of scoring.tables, since fusion has one expert: {', '.join(unfused)}")
    settings = ScoringSettings.parse(params["scoring"], "scoring")
    corpus = manifest.read(manifest_path)
    crossed = leaks.read(manifest_path.with_name("leaks.parquet"))
    named_splits.refuse_wrong(corpus)
    tables = {name: Path(path) for name, path in settings.tables.items()}
    systems = [align(name, path, predictions.read(path), corpus) for name, path in tables.items()]
    seen = contamination(used_checkpoints(params), names_of(params["corpus"], corpus.corpus))
    scored = score(corpus, systems, settings, params)
    scored.warnings[:0] = [*seen.warnings, *cautions_of_given(settings.tables, params)]
    scored.warnings[:0] = [*crossed.sentences(), *cautions_of_tuning(params)]
    for warning in [*below_baselines(scored.scores), *not_computed(settings), *scored.warnings]:
        print(f"warning: {warning}", file=sys.stderr)
    details = scored.scores | {KEY: made_on()}
    for name, values in (("details", details), ("scores", summary(scored.scores, settings))):
        atomic.write_file(out / f"{name}.json", json.dumps(values, indent=2, allow_nan=False) + "\n")
    headline = next(system for system in systems if system.name == headline_system(settings))
    audited = audit(corpus, headline, settings.splits, settings.audit.recordings)
    listed = records(corpus, audited)
    atomic.write_file(out / "audit.csv", table(listed, corpus.labels))
    root = read_value("corpus.root")
    atomic.write_file(out / "audit.html", page(audited, listed, corpus.corpus, corpus.notice, root, out))
    notes = [line for note in (crossed.protocol, *seen.notes) if note for line in (note, "")]
    notes += section(read_curves(settings.tables, rebalancing), sentence(audited))
    atomic.write_file(out / "report.md", report(scored, settings, notes))
    write_plots(out / "plots", corpus, systems, settings)
    write_systems(out / "plots" / "systems.csv", scored.scores, settings)


if __name__ == "__main__":
    run(main)
