"""What entries write, held against dvc.yaml; what earlier entries left is removed, and nothing else is."""

from pathlib import Path

import pytest
import yaml

from pipeline_lib.params.check import read_all
from pipeline_lib.params.outputs import OUTPUTS, stale_figures, stale_outputs
from stages import check
from tests.recipes.laid_down import YAML12, text

FIGURES = [
    *(f"metrics/plots/training/{name}.csv" for name in ("audio", "text", "gone")),
    *(f"metrics/plots/layers/{name}.csv" for name in ("audio", "text_layers", "gone")),
    *(f"metrics/rebalancing/{name}.json" for name in ("audio", "gone")),
    "metrics/plots/confusion/gone.csv",  # scoring's own folder, which it empties
    "metrics/plots/training/notes.txt.csv.gz",
    "metrics/paper_tables/gone.json",
]
GONE = {"metrics/plots/layers/gone.csv", "metrics/plots/training/gone.csv", "metrics/rebalancing/gone.json"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FIGURES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return read_all(YAML12.load(text("default")))


def test_every_out_of_an_entry_in_dvc_yaml_is_known_by_its_section():
    for section, stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"].items():
        if "foreach" not in stage:
            continue
        listed = [*stage["do"]["outs"], *stage["do"].get("metrics", [])]
        outs = {(next(iter(out)) if isinstance(out, dict) else out).replace("${key}", "{}") for out in listed}
        assert outs <= set(OUTPUTS[section])
        assert all(pattern.count("{}") == 1 and "*" not in pattern for pattern in OUTPUTS[section])


def test_figures_and_metrics_of_entries_that_are_gone_are_stale(project):
    assert {str(path) for path in stale_figures(project)} == GONE


def test_an_expert_that_an_entry_reads_is_not_stale_though_no_entry_trains_it(project):
    values = YAML12.load(text("default"))
    entry = values["embedding"]["audio"]
    entry |= {"encoder": None, "expert": "models/mine", "reads": entry["reads"] | {"encoder": "models/mine"}}
    for name in ("mine", "other"):
        Path("models", name).mkdir(parents=True)
        Path("models", name, "settings.json").touch()
    stale = {str(path) for path in stale_outputs(read_all(values)) if path.parts[0] == "models"}
    assert stale == {"models/other"}


def test_the_first_stage_removes_them_and_says_so(project, monkeypatch, capsys):
    monkeypatch.setattr(check, "check", lambda: project)
    monkeypatch.setattr(check.mixing, "warn", lambda *_: None)
    check.main()
    assert {name for name in FIGURES if not Path(name).exists()} == GONE
    assert [f"removed {name}, which no entry of params.yaml writes" for name in sorted(GONE)] == (
        capsys.readouterr().out.splitlines()
    )
