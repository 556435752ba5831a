"""The page of ``dvc plots show``: one panel a figure, its system in the title, drawn without a network."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.cli import main as dvc

PANEL = re.compile(r"var spec = (.*?);\s*vegaEmbed\('#(\w+)', spec\)", re.DOTALL)
TABLES = {
    "confusion": "actual,predicted\nanger,anger\nanger,neutral\n",
    "reliability": "confidence,accuracy,perfect,n\n0.2,0.1,0.2,3\n0.6,0.5,0.6,3\n",
    "training": "epoch,train_loss,dev_loss\n1,2.0,nan\n2,1.0,1.5\n",
    "layers": "layer,macro_f1,ua\n0,0.1,0.2\n1,0.2,0.3\n",
    "learning": "recordings,macro_f1,ua\n50,0.1,0.2\n100,0.2,0.3\n",
}
SYSTEMS = ("audio", "fused")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page of a project with a figure of each kind for two systems, and one layer curve without rows."""
    place = tmp_path_factory.mktemp("plots")
    (place / ".dvc").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvc/plots.html"):
        shutil.copy(name, place / name)
    config = Path(".dvc/config").read_text()
    (place / ".dvc/config").write_text(config.replace("[core]", "[core]\n    no_scm = true", 1))
    for kind, rows in TABLES.items():
        (place / "metrics/plots" / kind).mkdir(parents=True)
        for system in SYSTEMS:
            (place / "metrics/plots" / kind / f"{system}.csv").write_text(rows)
    (place / "metrics/plots/layers/text.csv").write_text("layer,macro_f1,ua\n")
    (place / "metrics/plots/systems.csv").write_text("corpus,system,macro_f1,ua,wa\nx,audio,0.1,0.2,0.3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert dvc(["plots", "show", "-q"]) == 0
    return (place / "dvc_plots/index.html").read_text()


def test_there_is_one_panel_a_figure_and_its_system_is_in_the_title(page):
    specs = {name: json.loads(spec) for spec, name in PANEL.findall(page)}
    titles = sorted(spec["title"]["text"] for spec in specs.values() if spec)
    notice = yaml.safe_load(Path("params.yaml").read_text())["corpus"]["notice"]
    figures = [f"metrics/plots/{kind}/{system}.csv" for kind in TABLES for system in SYSTEMS]
    assert titles == sorted([f"Macro-F1 on test. {notice}", *figures])
    assert all(notice in json.dumps(spec) for spec in specs.values() if spec)
    assert [name for name, spec in specs.items() if not spec] == ["metrics_plots_layers_text_csv"]  # the page hides it


def test_every_table_under_a_stage_is_drawn_by_the_list_at_the_end_alone():
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())
    stages = [stage.get("do", stage) for stage in pipeline["stages"].values()]
    assert not [stage for stage in stages if "plots" in stage]
    outs = [next(iter(out)) for stage in stages for out in stage["outs"] if isinstance(out, dict)]
    written = {out.removesuffix("/${key}.csv") for out in outs if out.startswith("metrics/plots/")}
    assert written == {next(iter(figure)) for figure in pipeline["plots"]}


def test_the_page_loads_the_script_of_the_environment_and_the_network_only_without_it(page):
    assert re.findall(r'^ *<script src="([^"]+)">', page, re.MULTILINE) == ["../.venv/vega.js"]
    assert "if (!window.vegaEmbed) {" in page and page.index("vega.js") < page.index("cdn.jsdelivr.net")
    assert "{plot_divs}" not in page


def test_the_script_defines_what_the_page_calls_and_loads_nothing(tmp_path):
    pytest.importorskip("vl_convert")
    from pipeline_lib.reports.offline import write_script

    write_script(tmp_path / "vega.js")
    script = (tmp_path / "vega.js").read_text()
    assert "window.vegaEmbed=" in script
    assert not re.search(r"^\s*import |importScripts", script, re.MULTILINE)
