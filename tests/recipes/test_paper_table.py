"""A paper's tables: which run is which row, and what the page says of it."""

import json
import subprocess
from functools import cache

import pytest
from ruamel.yaml import YAML

from pipeline_lib.params.base import ParameterError
from pipeline_lib.recipes import paper_table
from pipeline_lib.recipes.apply import change
from pipeline_lib.recipes.compose import compose, names, write_yaml
from pipeline_lib.recipes.paper_table import PAPERS, Run, expected, files_of, fill, read_paper, rows, run_of, runs
from pipeline_lib.recipes.small import shrink
from pipeline_lib.recipes.system_params import params_of
from pipeline_lib.reports.paper_cells import SCORES, columns_of, published, system_of
from pipeline_lib.reports.paper_page import command, page

ALL = {path.stem: read_paper(path) for path in sorted(PAPERS.glob("*.yaml"))}
PAPER, SHARED, MERSA, DISTILLED = (ALL[name] for name in ("taltech", "shared_transformer", "mersa", "distilled"))
SCORE = {"macro_f1": 0.25, "macro_f1_lo": 0.2, "macro_f1_hi": 0.3}


@cache
def tables_of(recipe):
    return compose(recipe)["scoring"]["tables"]


def scores(**systems):
    return {"corpus": "msp_podcast", "notice": "", "dev_filt": {}, "dev_bal": systems, "test": {}}


def run(recipe="taltech", sets=None, small=False, **systems):
    return Run("one", expected(recipe, sets or {}, small), {SCORES: scores(**systems)})


def on_test(recipe, sets=None, metrics=None, name="one", **systems):
    said = scores() | {"test": systems}
    return Run(name, expected(recipe, sets or {}, False), {SCORES: said, **(metrics or {})})


@pytest.mark.parametrize("paper", ALL)
def test_every_row_is_a_recipe_and_a_table_of_it(paper):
    for table, row in rows(ALL[paper]):
        recipe, sets = run_of(ALL[paper], table, row)
        assert recipe in names()
        laid_down = expected(recipe, sets, False)  # refuses keys that the recipe has not
        tables = tables_of(recipe)
        for column in (each for each in columns_of(table, row) if each.place and ":" not in each.place):
            assert system_of(row, *column.place.split(".")[1:-1]) in tables, (row, column)
        for column in columns_of(table, row):
            expected(recipe, sets | column.sets, False)
        assert {*laid_down} >= {"corpus", "finetuning", "rebalancing"}


def test_the_page_says_which_intervals_its_brackets_are_also_where_rows_differ():
    result = fill(ALL["emobox"], [of_open()], {})
    first = page(ALL["emobox"], result).splitlines()[2]
    assert first.startswith("Brackets are intervals over speakers (percentile bootstrap). ")  # a run of before
    (key,) = result
    result = {"a": {**result[key], "intervals": "jackknife_t"}, **result}
    assert f"over speakers: jackknife-t of a; percentile bootstrap of {key}." in page(ALL["emobox"], result)


def of_open(systems=("layers",), **changes):
    """Return a run of open_ravdess whose parameters are as written, but for changes by dotted key."""
    whole = compose("open_ravdess")
    for key, value in changes.items():
        change(whole, f"{key.replace('__', '.')}={json.dumps(value)}")
    scores = {"ua": 0.75, "ua_lo": 0.7, "ua_hi": 0.8, "wa": 0.74, "macro_f1": 0.73}
    details = {"corpus": "ravdess", "notice": "", "folds": dict.fromkeys(systems, scores)}
    details["over_folds"] = {name: {"ua": {"mean": 0.755, "deviation": 0.02, "by_fold": {}}} for name in systems}
    return Run("one", {}, {SCORES: details}, YAML(typ="safe", pure=True).load(write_yaml(whole)))


def test_a_row_is_filled_by_any_run_that_has_its_system_and_published_means_stand_beside_means_of_folds():
    run = of_open(finetuning__weighted__seed=9, corpus__root="/elsewhere", embedding__audio__frames=False)
    result = fill(ALL["emobox"], [run], {})
    assert {key.rsplit(" ", 1)[1] for key in result} == {"#b"}  # of RAVDESS: nEMO's has another corpus
    lines = page(ALL["emobox"], result).splitlines()
    (row,) = [line for line in lines if line.startswith("| #b ") and "not run" not in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:5] == ["–", "75.5", "75.0 [70.0, 80.0]"] and cells[6] == "74.0" and cells[8] == "73.0"
    (published,) = [line for line in lines if "WavLM large" in line]
    assert [cell.strip() for cell in published.strip("|").split("|")][2:4] == ["72.0", "–"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rebalancing__layers__lda_logistic__shrinkage": 0.9},
        {"embedding__audio__pooling": "mean"},
        {"embedding__audio__encoder__checkpoint": "openai/whisper-medium"},
        {"corpus__split__folds__dev_share": 0.3},
    ],
)
def test_a_run_whose_system_is_another_fills_no_row(changes):
    assert fill(ALL["emobox"], [of_open(**changes)], {}) == {}


def test_a_checkpoints_folder_counts_as_its_name_where_the_path_is_given():
    run = of_open(("weighted", "layers"), embedding__audio__encoder__checkpoint="/mnt/w")
    assert fill(ALL["emobox"], [run], {}) == {}
    found = fill(ALL["emobox"], [run], {}, ["openai/whisper-base=/mnt/w"])
    assert {key.rsplit(" ", 1)[1] for key in found} == {
        "#b"
    }  # finetuning.weighted has the name, its embedding the folder
    with pytest.raises(ParameterError, match="--path 'openai/whisper=/mnt/w': expected OLD=NEW with a path OLD that a"):
        paper_table.write_tables("emobox", paths=["openai/whisper=/mnt/w"])


def test_a_system_depends_on_what_its_table_is_made_from():
    params = compose("open_ravdess")
    parts = {
        system: {section: [*of[section]] if section != "corpus" else [] for section in of}
        for system, of in ((name, params_of(name, params)) for name in ("layers", "weighted", "text"))
    }
    assert parts["layers"] == {"corpus": [], "rebalancing": ["layers"], "embedding": ["audio"]}
    whole = {"rebalancing": ["weighted"], "finetuning": ["weighted"], "embedding": ["audio"]}
    assert parts["weighted"] == {"corpus": [], **whole}
    assert {*parts["text"]} == {"corpus", "rebalancing", "embedding", "transcription"}
    assert params_of("nobody", params) == {}
    fused = params_of("fused", compose("default"))
    assert {*fused} == {"corpus", "fusion", "rebalancing", "finetuning", "transcription"}


@pytest.mark.parametrize("paper", ALL)
def test_no_row_has_more_figures_than_its_table_has_columns(paper):
    for table in ALL[paper]["tables"]:
        for row in table["rows"]:
            assert len(row["published"]) <= len(table["columns"])
            assert set(published(table, row)) <= set(table["columns"])


@pytest.mark.parametrize("paper", ALL)
def test_two_rows_of_one_table_are_two_runs_or_two_systems(paper):
    for table in ALL[paper]["tables"]:
        seen = [
            json.dumps([run_of(ALL[paper], table, row), row["system"], row.get("columns")])
            for row in table["rows"]
            if "system" in row
        ]
        assert len(set(seen)) == len(seen), table["title"]


def queued(paper, options):
    """Return what the paper's script would run: pairs of recipe and what is set."""
    stub = (
        'ser() { [[ "$1" == apply ]] && recipe="$2"; }\n'
        'dvc() { shift 5; echo "$recipe|$*"; }\n'
        f"source pipeline_lib/recipes/papers/{paper}.sh"
    )
    done = subprocess.run(["bash", "-c", stub, "run", *options], capture_output=True, text=True, check=True)
    found = [line.split("|") for line in done.stdout.splitlines()]
    return [(recipe, assignments(said)) for recipe, said in found]


def assignments(typed):
    return sorted(each.strip() for each in typed.replace("'", "").split("-S ") if each.strip())


@pytest.mark.parametrize("paper", ALL)
def test_the_queue_holds_every_run_of_the_tables_and_runs_none_twice(paper):
    lines = queued(paper, [])
    for table, row in rows(ALL[paper]):
        recipe, sets = run_of(ALL[paper], table, row)
        for column in (each for each in columns_of(table, row) if each.place):
            typed = command(recipe, sets | column.sets).split("dvc exp run")[1]
            assert (recipe, assignments(typed)) in lines, row
    assert len({json.dumps(line) for line in lines}) == len(lines)


def test_every_table_of_mersa_is_queued_on_stand_ins_too():
    expected = ["mersa", "mersa_sessions", "mersa_six", "mersa_meld"]
    assert [recipe for recipe, _ in queued("mersa", ["--small"])] == expected


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


def test_where_the_corpus_lies_and_whether_frames_are_cached_make_no_difference():
    params = compose("taltech")
    params["corpus"]["root"] = "/elsewhere"
    params["finetuning"]["audio"]["cache_embeddings"] = True
    params["finetuning"]["audio"]["augmentation"]["noise"]["root"] = "/elsewhere"
    read = paper_table._bound(YAML(typ="safe", pure=True).load(write_yaml(params)))
    assert read == expected("taltech", {}, False)


def test_what_a_row_expects_is_what_its_written_parameters_hold():
    params = compose("shared_transformer_baselines")
    shrink(params)
    written = paper_table._bound(YAML(typ="safe", pure=True).load(write_yaml(params)))
    assert written == expected("shared_transformer_baselines", {}, True)


def test_what_was_found_before_is_kept_and_what_is_found_anew_replaces_it():
    before = fill(PAPER, [run(audio=SCORE)], {})
    assert fill(PAPER, [], before) == before
    after = fill(PAPER, [run(audio=SCORE | {"macro_f1": 0.5})], before)
    assert after["Table 3, macro-F1 of task 1 #2"]["scores"]["dev_bal"][0] == 0.5


def test_what_a_run_is_silent_of_stays_as_an_earlier_call_found_it():
    key = "Table 3, retrieval among 32 and UA by kind of position #4"
    sets = {"finetuning.joint.losses.reconstruction": 0.0}
    metrics = {"metrics/finetuning/joint.json": {"retrieval": {"audio": 0.425, "text": 0.448}}}
    workspace = on_test("shared_transformer", sets, metrics, joint={"ua": 0.6})
    before = fill(SHARED, [workspace], {})
    after = fill(SHARED, [on_test("shared_transformer", sets, name="kept", joint={"ua": 0.7})], before)
    assert (after[key]["run"], after[key]["scores"]["UA % a+t"]) == ("kept", [0.7])
    assert (after[key]["scores"]["retrieval % a"], after[key]["scores"]["retrieval % t"]) == ([0.425], [0.448])


@pytest.mark.parametrize("paper", ALL)
def test_the_page_says_not_run_where_nothing_was_run(paper):
    said = page(ALL[paper], {})
    rows_of = [line for line in said.splitlines() if line.startswith("| #")]  # published rows of others have none
    assert len(rows_of) == len(list(rows(ALL[paper])))
    assert all("not run" in line for line in rows_of)
    assert "stand-ins" not in said
    widths = {line.count("|") for line in said.split("## ")[1].splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_the_page_names_the_run_of_a_row():
    assert "dvc exp run -S fusion.method=logreg" in page(PAPER, {})
    assert "apply shared_transformer && dvc exp run -S finetuning.joint.losses.contrastive=0.0" in page(SHARED, {})


def test_what_is_not_built_is_said_in_its_row():
    absent = {"row": "", "model": "another", "published": [56.9, 44.0], "absent": "not built yet"}
    paper = SHARED | {"tables": [SHARED["tables"][0] | {"rows": [absent]}]}
    (row,) = [line for line in page(paper, {}).splitlines() if "| another |" in line]
    assert row.count("not built yet") == 12
    assert "| 56.9 / not built yet | 44.0 / not built yet | – / not built yet |" in row


def test_what_says_nothing_of_the_attributes_is_scored_on_emotions_alone():
    systems = {f"imagination{view}": {"ua": ua} for view, ua in (("", 0.6), ("_audio", 0.57), ("_text", 0.44))}
    found = fill(SHARED, [on_test("shared_transformer_baselines", **systems)], {})
    (row,) = [line for line in page(SHARED, found).splitlines() if line.startswith("| #0 ")]
    assert "| CIF-MMIN (2024) | 56.9 / 57.0 | 44.0 / 44.0 | 59.6 / 60.0 | – / not scored |" in row


def test_what_an_expert_says_of_one_modality_fills_that_modalitys_column_in_the_papers_unit():
    systems = {name: {"ua": ua} for name, ua in (("joint", 0.7), ("joint_audio", 0.6), ("joint_text", 0.5))}
    found = fill(SHARED, [on_test("shared_transformer", **systems)], {})
    assert [key for key in found if "Table 1" in key] == ["Table 1, by what an utterance has #7"]
    (row,) = [line for line in page(SHARED, found).splitlines() if line.startswith("| #7 ")]
    assert "| 66.6 / 60.0 | 54.5 / 50.0 | 68.3 / 70.0 | 0.656 / not scored |" in row


def test_a_row_of_three_models_reads_each_column_from_its_own():
    systems = {name: {"ua": ua} for name, ua in (("audio", 0.61), ("text", 0.52), ("both", 0.73))}
    found = fill(SHARED, [on_test("shared_transformer_baselines", **systems)], {})
    got = found["Table 1, by what an utterance has #2"]["scores"]
    assert (got["UA % a"], got["UA % t"], got["UA % a+t"]) == ([0.61], [0.52], [0.73])


def test_numbers_that_are_no_scores_come_from_their_own_files():
    assert files_of(PAPER) == [SCORES]
    assert "metrics/finetuning/hubert.json" in files_of(DISTILLED)
    metrics = {"metrics/finetuning/hubert.json": {"parameters": {"total": 94_600_000}}}
    found = fill(DISTILLED, [on_test("distilled", metrics=metrics, hubert={"ccc_arousal": 0.5})], {})
    (row,) = [line for line in page(DISTILLED, found).split("## ")[1].splitlines() if line.startswith("| #2 ")]
    assert "| 95 / 95 | 0.608 / 0.500 | 0.440 / not scored |" in row


def test_a_row_of_several_runs_is_filled_run_by_run():
    seeds = {f"seed {seed}": {"place": "test.wa", "set": {"corpus.split.seed": seed}} for seed in (1, 2, 3)}
    table = MERSA["tables"][0] | {"columns": seeds, "rows": [MERSA["tables"][0]["rows"][5] | {"published": []}]}
    paper = MERSA | {"tables": [table]}
    found = {}
    for i, column in enumerate(columns_of(table)):
        assert "not run" in page(paper, found).split(table["title"])[-1].split("| #6 ")[1].splitlines()[0]
        each = on_test("mersa", column.sets, name=column.name, mersa_cross={"wa": 0.5 + i / 10})
        found = fill(paper, [each], found)
    (row,) = [line for line in page(paper, found).split(table["title"])[1].splitlines() if line.startswith("| #6 ")]
    assert row == "| #6 | + cross-attention | 0.500 | 0.600 | 0.700 |"


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
    (tmp_path / SCORES).write_text(json.dumps(scores(audio=SCORE)))
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "an experiment")
    git("update-ref", f"refs/exps/ab/{'0' * 38}/taltech-one", "HEAD")
    git("update-ref", "refs/exps/celery/stash", "HEAD")  # what waits in DVC's queue has no scores of its own
    assert [each.name for each in runs(root=tmp_path)] == ["workspace", "taltech-one"]
    (tmp_path / SCORES).unlink()
    (found,) = runs(root=tmp_path)
    assert found.params == expected("taltech", {}, True)


def test_numbers_of_an_expert_that_was_trained_otherwise_are_no_rows(tmp_path):
    params = compose("shared_transformer")
    (tmp_path / "params.yaml").write_text(write_yaml(params))
    (tmp_path / "metrics/finetuning").mkdir(parents=True)
    (tmp_path / SCORES).write_text(json.dumps(scores()))
    file = "metrics/finetuning/joint.json"
    entry = YAML(typ="safe", pure=True).load(write_yaml(params["finetuning"]["joint"]))
    for seed, there in ((entry["seed"], True), (entry["seed"] + 1, False)):
        said = {"retrieval": {"audio": 0.5}, "params": {"finetuning": {"joint": entry | {"seed": seed, "reads": {}}}}}
        (tmp_path / file).write_text(json.dumps(said))
        (found,) = runs(files_of(SHARED), tmp_path)
        assert (file in found.metrics) == there
    got = fill(SHARED, [Run("one", found.params, {SCORES: scores(), file: {"retrieval": {"audio": 0.5}}})], {})
    assert not [key for key in got if "Table 3" in key]  # with both losses it is no row of table 3


def test_the_command_of_a_row_is_what_a_user_types():
    typed = command("taltech", {"fusion.method": "logreg"})
    assert typed == "ser apply taltech && dvc exp run -S fusion.method=logreg"
    typed = command("mersa", {"corpus.split.test_speakers": ["Ses01F", "Ses01M"]}, small=True)
    assert typed.endswith("mersa --small && dvc exp run -S 'corpus.split.test_speakers=[Ses01F,Ses01M]'")


def test_an_unknown_paper_is_refused_with_the_known(tmp_path):
    with pytest.raises(
        ParameterError, match=r"no paper 'taltec', expected one of \['distilled', 'emobox', 'mersa', .*'taltech'\]"
    ):
        paper_table.write_tables("taltec", tmp_path)


def test_a_second_call_writes_the_same_bytes(tmp_path):
    paper_table.write_tables("taltech", tmp_path / "tables")
    first = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    paper_table.write_tables("taltech", tmp_path / "tables")
    assert {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()} == first
