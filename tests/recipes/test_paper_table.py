"""A paper's tables: which run is which row, and what the page says of it."""

import copy
import json
import subprocess

import pytest
from ruamel.yaml import YAML

from pipeline_lib.recipes import paper_table
from pipeline_lib.recipes.compose import compose, names, read_yaml, write_yaml
from pipeline_lib.recipes.paper_page import command, page
from pipeline_lib.recipes.paper_table import PAPERS, Run, expected, fill, rows, run_of, runs
from pipeline_lib.recipes.small import shrink
from pipeline_lib.settings import ParameterError

PAPER = read_yaml(PAPERS / "taltech.yaml")
SCORE = {"macro_f1": 0.25, "macro_f1_lo": 0.2, "macro_f1_hi": 0.3}


def scores(**systems):
    return {"corpus": "msp_podcast", "notice": "", "dev_filt": {}, "dev_bal": systems, "test": {}}


def run(sets=(), small=False, **systems):
    return Run("one", copy.deepcopy(expected("taltech", tuple(sets), small)), scores(**systems))


def test_every_row_is_a_recipe_and_a_table_of_it():
    for table, row in rows(PAPER):
        recipe, sets = run_of(PAPER, table, row)
        assert recipe in names()
        tables = compose(recipe)["scoring"]["tables"]
        assert row["system"] in tables, row
        expected(recipe, tuple(sets.items()), False)


def test_the_queue_holds_every_run_of_the_tables():
    queue = (PAPERS / "taltech.sh").read_text()
    blocks = {block.split()[0]: block for block in queue.split("pipeline_lib.recipes.apply ")[1:]}
    for table, row in rows(PAPER):
        recipe, sets = run_of(PAPER, table, row)
        lines = [line for line in blocks[recipe].splitlines() if line.startswith("queue ")]
        options = "".join(f" -S {key}={value}" for key, value in sets.items())
        assert any(line.split(" ", 2)[2:] == options.split(" ", 1)[1:] for line in lines), row


def test_a_run_fills_the_rows_whose_parameters_it_has_and_no_other():
    found = fill(PAPER, [run(audio=SCORE, fused_resubstitution=SCORE, fused_crossfitted=SCORE)], {})
    assert "Table 3, macro-F1 of task 1 #2" in found
    assert found["Table 3, macro-F1 of task 1 #2"]["scores"] == {"dev_bal": [0.25, 0.2, 0.3]}
    assert "Table 3, macro-F1 of task 1 #8" not in found  # logistic regression is another run
    assert not [key for key in found if "Table 2" in key or "stand-ins" in key]
    seven = found["Table 3, macro-F1 of task 1 #7"]["scores"]
    assert set(seven) == {"dev_bal_resubstitution", "dev_bal_crossfitted"}


def test_a_run_with_another_learning_rate_is_no_row():
    other = run(audio=SCORE)
    other.params["finetuning"]["audio"]["phases"]["main"]["learning_rate"] = 3e-4
    assert fill(PAPER, [other], {}) == {}


def test_where_the_corpus_lies_and_how_many_workers_read_it_make_no_difference():
    params = compose("taltech")
    params["corpus"]["root"] = "/elsewhere"
    params["finetuning"]["audio"]["workers"] = 3
    params["finetuning"]["audio"]["augmentation"]["noise"]["root"] = "/elsewhere"
    read = paper_table._bound(YAML(typ="safe", pure=True).load(write_yaml(params)))
    assert read == expected("taltech", (), False)


def test_what_was_found_before_is_kept_and_what_is_found_anew_replaces_it():
    before = fill(PAPER, [run(audio=SCORE)], {})
    assert fill(PAPER, [], before) == before
    after = fill(PAPER, [run(audio=SCORE | {"macro_f1": 0.5})], before)
    assert after["Table 3, macro-F1 of task 1 #2"]["scores"]["dev_bal"][0] == 0.5


def test_the_page_says_not_run_where_nothing_was_run():
    said = page(PAPER, {})
    rows_of = [line for line in said.splitlines() if line.startswith("| #")]
    assert len(rows_of) == len(list(rows(PAPER)))
    assert all("not run" in line for line in rows_of)
    assert "stand-ins" not in said
    assert "dvc exp run -S fusion.method=logreg" in said


def test_a_run_on_stand_ins_never_stands_beside_a_published_number():
    found = fill(PAPER, [run(small=True, audio=SCORE)], {})
    said = page(PAPER, found)
    published, apart = said.split("# The same rows on stand-ins")
    assert "0.250 [0.200, 0.300]" in apart
    assert "0.250" not in published
    assert "0.297" not in apart


def test_resubstitution_and_cross_fitting_are_named():
    found = fill(PAPER, [run(fused_resubstitution=SCORE, fused_crossfitted=SCORE)], {})
    assert "0.250 [0.200, 0.300] (resubstitution); 0.250 [0.200, 0.300] (cross-fitted)" in page(PAPER, found)


def test_runs_are_found_in_the_workspace_and_among_the_experiments(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=tmp_path, check=True)

    params = compose("taltech")
    shrink(params)
    (tmp_path / "params.yaml").write_text(write_yaml(params))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/scores.json").write_text(json.dumps(scores(audio=SCORE)))
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "an experiment")
    git("update-ref", "refs/exps/ab/cdef/taltech-one", "HEAD")
    assert [each.name for each in runs(tmp_path)] == ["workspace", "taltech-one"]
    (tmp_path / "metrics/scores.json").unlink()
    (found,) = runs(tmp_path)
    assert found.params == expected("taltech", (), True)


def test_the_command_of_a_row_is_what_a_user_types():
    typed = command("taltech", {"fusion.method": "logreg"})
    assert typed == "python -m pipeline_lib.recipes.apply taltech && dvc exp run -S fusion.method=logreg"


def test_an_unknown_paper_is_refused_with_the_known(tmp_path):
    with pytest.raises(ParameterError, match=r"no paper 'taltec', wanted one of \['taltech'\]"):
        paper_table.main("taltec", tmp_path)


def test_a_second_call_writes_the_same_bytes(tmp_path):
    paper_table.main("taltech", tmp_path / "tables")
    first = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    paper_table.main("taltech", tmp_path / "tables")
    assert {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()} == first
