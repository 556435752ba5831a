"""Two files of scores are the same within the tolerance file, and the seeds' script goes on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from benchmarks import demonstration_seeds as seeds
from benchmarks import same_results
from pipeline_lib.scoring.made_on import made_on

TOLERANCE = YAML(typ="safe", pure=True).load(same_results.TOLERANCE.read_text())
DETAILS = json.loads(Path("metrics/details.json").read_text())


def changed(dotted: str, by: float) -> dict:
    values = json.loads(json.dumps(DETAILS))
    node, (*heads, last) = values, dotted.split(".")
    for head in heads:
        node = node[head]
    node[last] += by
    return values


def test_a_file_is_the_same_as_itself_on_any_machine():
    assert same_results.differences(DETAILS, DETAILS | {"made_on": {"cores": 1000}}, TOLERANCE) == []


@pytest.mark.parametrize(
    ("name", "by", "beyond"),
    [
        ("test.fused.macro_f1", -0.0098, False),
        ("test.fused.macro_f1", -0.021, True),
        ("test.fused.n", 1, True),
        ("test.fused.ece", 0.029, False),
        ("test.fused.macro_f1_lo", 0.039, False),
        ("test.fused.macro_f1_lo", 0.041, True),
        ("test.fused_minus_best.p", 0.021, False),
        ("test.fused_minus_best.p", 0.11, True),
        ("chance.ua", 1e-6, True),
    ],
)
def test_each_value_has_its_tolerance(name, by, beyond):
    (listed,) = same_results.differences(DETAILS, changed(name, by), TOLERANCE)
    assert (listed.name, listed.beyond) == (name, beyond)
    assert listed.size == pytest.approx(abs(by))


def test_a_text_and_a_value_that_one_file_lacks_are_beyond():
    other = changed("test.fused.n", 0)
    other["test"]["fused_minus_best"]["best"] = "audio"
    del other["test"]["audio"]["ece"]
    listed = same_results.differences(DETAILS, other, TOLERANCE)
    assert [(each.name, each.beyond) for each in listed] == [
        ("test.audio.ece", True),
        ("test.fused_minus_best.best", True),
    ]


def test_the_command_ends_with_the_verdict(tmp_path):
    import typer

    app = typer.Typer()
    app.command()(same_results.main)
    for by, status, verdict in ((0.0, 0, "the same"), (0.5, 1, "not the same")):
        (tmp_path / "b.json").write_text(json.dumps(changed("test.fused.ua", by)))
        done = CliRunner().invoke(app, ["metrics/details.json", str(tmp_path / "b.json")])
        assert done.exit_code == status and done.stdout.rstrip().endswith(verdict)


def test_processor_threads_and_libraries_are_described(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx avx2 avx512f x\n\nprocessor\t: 1\nmodel name\t: B\n"
    )
    values = made_on(tmp_path / "cpuinfo")
    assert values["processor"] == "Some CPU" and values["instructions"] == ["avx", "avx2", "avx512f"]
    assert values["environment"]["OMP_NUM_THREADS"] == "3" and values["libraries"]["numpy"] == np.__version__
    assert any(pool.startswith("openblas") and pool.endswith(" threads") for pool in values["pools"])
    assert json.loads(json.dumps(made_on(tmp_path / "none")))["instructions"] == []


def test_every_stage_of_the_default_runs_in_its_order():
    names = seeds.stages_of(seeds.seeded(11, []))
    assert names == [
        *("check", "demonstration english", "corpus", "transcription", "embedding audio", "embedding text"),
        *("finetuning audio", "finetuning text", "rebalancing audio", "rebalancing text", "rebalancing audio_layers"),
        *("rebalancing text_layers", "fusion", "scoring"),
    ]
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text())["stages"]
    assert {name.split()[0] for name in names} == set(stages)


def test_corpus_and_experts_have_the_seed_and_nothing_else_changes():
    one, other = seeds.seeded(1, []), seeds.seeded(11, [])
    assert other["demonstration"]["english"].pop("seed") == 11 and one["demonstration"]["english"].pop("seed") == 1
    assert {expert.pop("seed") for expert in other["finetuning"].values()} == {11}
    assert {expert.pop("seed") for expert in one["finetuning"].values()} == {1}
    assert one == other


def test_an_interrupted_run_goes_on_and_a_changed_one_begins_anew(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()
    line = "open('log', 'a').write('{0} '); import os; assert '{0}' != 'b' or os.path.exists('repaired')"
    for name in "abc":
        (tmp_path / "stages" / f"{name}.py").write_text(line.format(name))
    with pytest.raises(seeds.subprocess.CalledProcessError):
        seeds.run_stages(tmp_path, ["a", "b", "c"], "digest", 1, None)
    (tmp_path / "repaired").touch()
    for digest in ("digest", "digest", "another"):
        seeds.run_stages(tmp_path, ["a", "b", "c"], digest, 1, None)
    assert (tmp_path / "log").read_text().split() == ["a", "b", "b", "c", "a", "b", "c"]


def test_mean_deviation_and_worst_are_those_of_the_seeds():
    scores = [(0.6, 0.1), (0.7, 0.0), (0.65, -0.1)]
    details = [{"test": {"fused": {"macro_f1": f}, "fused_minus_best": {"macro_f1": g}}} for f, g in scores]
    assert seeds.summary(details) == [
        "fused macro-F1: mean 0.6500, deviation 0.0500, worst 0.6000, of 3 seeds",
        "gain over the better expert: mean 0.0000, deviation 0.1000, worst -0.1000, of 3 seeds",
    ]
