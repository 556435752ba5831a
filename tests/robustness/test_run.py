"""A run with a system of its own: refusals, numbers, what is computed again, the page."""

import inspect
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline_lib import cli
from pipeline_lib.errors import InputError
from pipeline_lib.robustness import report
from pipeline_lib.robustness.levels import CLEAN, Level
from pipeline_lib.robustness.plan import plan
from pipeline_lib.robustness.run import compute
from pipeline_lib.tables.provenance import Provenance
from tests.robustness import corpora

NOTHING = {"split": None, "conditions": None, "given": (), "noise": None, "responses": None, "seed": 1, "largest": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    corpora.project(folder)
    return folder


@pytest.fixture
def project(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "project")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace(str(made), str(folder)))
    return folder


def planned(folder, **options):
    return plan(folder, **(NOTHING | options))


class Counted:
    """The system, with the folders that it was applied to."""

    def __init__(self):
        self.calls = []

    def __call__(self, project, given, *folders):
        self.calls.append(len(given))
        return corpora.apply(project, given, *folders)


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    folder = shutil.copytree(made, tmp_path_factory.mktemp("finished") / "project")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("engine: reference", "engine: whisper"))
    chosen = planned(folder, conditions=["noise", "band"], given=["noise=0", "band=1"], noise=folder / "sounds")
    return chosen, compute(chosen, wer=True, apply=corpora.apply, transcribe=corpora.transcribe)


def test_differences_are_those_of_the_scores_on_the_same_utterances(finished):
    chosen, levels = finished
    record = report.scored(chosen, levels)
    truth = chosen.manifest.truth()
    right = {}
    for level, result in levels.items():
        predicted = result.tables["audio"].posterior.argmax(axis=1)
        right[level] = np.mean([np.mean(predicted[truth == label] == label) for label in range(3)])
    assert len({*right.values()}) > 1  # the conditions change something
    for row in record["levels"]:
        values = row["systems"]["audio"]
        own = right[Level(row["condition"], row["level"])]
        assert values["n"] == 24 and values["ua"] == pytest.approx(own)
        assert values["ua_less_clean"] == pytest.approx(own - right[CLEAN])
        assert values["ua_less_clean_lo"] <= values["ua_less_clean"] <= values["ua_less_clean_hi"]
    clean = record["levels"][0]
    assert clean["condition"] == "clean"
    assert clean["systems"]["audio"]["ua_less_clean_lo"] == clean["systems"]["audio"]["ua_less_clean_hi"] == 0


def test_a_system_that_was_fitted_on_what_is_altered_is_marked(finished):
    chosen, levels = finished
    fitted = {"audio": ("fold1",), "best_layer": ("dev_bal", "train")}  # the altered utterances have no dev_bal
    marked = {
        level: replace(
            result,
            tables={name: replace(result.tables[name], provenance=Provenance(fitted[name])) for name in fitted},
        )
        for level, result in levels.items()
    }
    record = report.scored(chosen, marked)
    assert all([*row["systems"]] == ["audio_resubstitution", "best_layer"] for row in record["levels"])
    assert "egemaps is left out: without fitting it equals another row" in record["notes"]


def test_word_errors_are_counted_over_all_words(finished):
    chosen, levels = finished
    rows = {row["condition"]: row["wer"] for row in report.scored(chosen, levels)["levels"]}
    for level, result in levels.items():
        errors = sum("four" not in text for text in result.texts.values())
        assert rows[level.condition]["wer"] == pytest.approx(errors / (4 * 24))
    assert rows["band"]["wer_less_clean"] == pytest.approx(rows["band"]["wer"] - rows["clean"]["wer"])
    assert rows["band"]["wer"] > rows["clean"]["wer"]


def test_the_page_has_a_row_a_level_and_says_what_does_not_change(finished, tmp_path, capsys):
    chosen, levels = finished
    report.write(chosen, levels, tmp_path)
    page = (tmp_path / "robustness.md").read_text()
    assert page == capsys.readouterr().out
    assert re.search(r"^\| noise \| 0 dB \| 24 \| 0\.\d{3} \[.*\] \| [+-]0\.\d{3} \[", page, re.MULTILINE)
    assert "best_layer predicts the same at every level: it reads no audio" in page
    assert "audio, clean copies beside the project's own table: 24 of 24 utterances have the same label" in page
    assert "**made recordings**" in page and "seed 1" in page
    record = json.loads((tmp_path / "robustness.json").read_text())
    assert [row["condition"] for row in record["levels"]] == ["clean", "noise", "band"]
    assert (tmp_path / "figures" / "robustness.png").read_bytes()[:4] == b"\x89PNG"


def test_finished_levels_are_not_computed_again_and_a_killed_one_is(project, capsys):
    chosen = planned(project, conditions=["band"], given=["band=1,2"])
    system = Counted()
    first = compute(chosen, wer=False, apply=system, transcribe=corpora.transcribe)
    assert system.calls == [24, 24, 24]
    more = planned(project, conditions=["band"], given=["band=1,2,3"])
    again = compute(more, wer=False, apply=system, transcribe=corpora.transcribe)
    assert len(system.calls) == 4 and "3 of 4 levels are finished" in capsys.readouterr().err
    for level, result in first.items():
        np.testing.assert_array_equal(result.tables["audio"].posterior, again[level].tables["audio"].posterior)

    def killed(*given):
        given[-1].mkdir()
        (given[-1] / "layers").touch()
        raise KeyboardInterrupt

    def going_on(*given):
        assert (given[-1] / "layers").exists()  # what the killed run computed
        return system(*given)

    other = planned(project, conditions=["band"], given=["band=1,3.5"])
    with pytest.raises(KeyboardInterrupt):
        compute(other, wer=False, apply=killed, transcribe=corpora.transcribe)
    compute(other, wer=False, apply=going_on, transcribe=corpora.transcribe)
    assert len(system.calls) == 5
    assert not (project / "work" / "robustness" / "unfinished").exists()


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"largest": 12}, {"noise": "other"}, {"table": "other"}],
    ids=lambda change: next(iter(change)),
)
def test_another_input_is_another_level(project, changes):
    options = {"conditions": ["noise"], "given": ["noise=0"], "noise": project / "sounds"}
    system = Counted()
    compute(planned(project, **options), wer=False, apply=system, transcribe=corpora.transcribe)
    if "noise" in changes:
        (project / "sounds" / "noise" / "tap.wav").unlink()
    elif "table" in changes:
        shutil.copy(project / "data/rebalanced/best_layer.parquet", project / "data/rebalanced/audio.parquet")
    else:
        options |= changes
    compute(planned(project, **options), wer=False, apply=system, transcribe=corpora.transcribe)
    assert len(system.calls) == (3 if "noise" in changes else 4)  # clean draws from no noise


def test_a_trained_system_is_applied_as_the_tests_own_is():
    from pipeline_lib.inference import system

    for own, real in ((corpora.apply, system.apply), (corpora.transcribe, system.transcribe)):
        folders = [*inspect.signature(real).parameters][2:]
        assert folders == [*inspect.signature(own).parameters][2:] == ["out", "root", "work"]


def test_recordings_that_are_lost_are_printed_and_scored_without(project, capsys):
    (project / "corpus" / "03.wav").write_bytes(b"")
    chosen = planned(project, conditions=["band"], given=["band=1"])
    levels = compute(chosen, wer=False, apply=corpora.apply, transcribe=corpora.transcribe)
    assert "1 of 24 recordings are left out, 'u03' first: empty" in capsys.readouterr().err
    row = report.scored(chosen, levels)["levels"][1]
    assert (row["copies"], row["losses"], row["systems"]["audio"]["n"]) == (23, {"empty": 1}, 23)


def test_conditions_without_a_folder_are_left_out_with_a_line(project):
    chosen = planned(project)
    assert {level.condition for level in chosen.levels} == {"clean", "codec", "band", "clipping"}
    assert chosen.notes[0] == "noise is left out: --noise names no folder of recordings of noise"
    both = planned(project, noise=project / "sounds", responses=project / "sounds", given=["rooms=0-1"])
    assert {level.condition for level in both.levels} >= {"noise", "rooms"} and not both.notes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"conditions": ["noise"]}, "names noise, which needs --noise FOLDER with recordings of noise"),
        ({"noise": "nowhere"}, "nowhere does not exist or is no folder"),
        ({"responses": "sounds", "given": ["rooms=2-3"]}, r"no impulse response for rooms of 2-3 s.*small.wav 0\.3"),
        ({"conditions": ["band"], "noise": "sounds"}, "does not name noise: remove either"),
        ({"split": "test"}, "the manifest has no split or subset 'test'"),
        ({"largest": 3, "given": ["band=9"]}, "band has no level '9'"),
    ],
)
def test_what_cannot_run_is_refused_before_any_model_is_loaded(project, options, expected):
    options = {key: project / value if key in ("noise", "responses") else value for key, value in options.items()}
    with pytest.raises(InputError, match=expected):
        planned(project, **options)


def test_a_project_that_has_not_run_or_reads_no_audio_is_refused(project):
    (project / "data/rebalanced/egemaps.parquet").rename(project / "away.parquet")
    with pytest.raises(InputError, match=r"egemaps.parquet does not exist, expected a trained system; run dvc repro"):
        planned(project)
    (project / "away.parquet").rename(project / "data/rebalanced/egemaps.parquet")
    text = (project / "params.yaml").read_text()
    text = re.sub(r"^ +(seconds|whisper_length):.*\n", "", text, flags=re.MULTILINE)
    (project / "params.yaml").write_text(
        text.replace("modality: audio", "modality: text").replace("functionals/eGeMAPSv02", "x")
    )
    with pytest.raises(InputError, match="reads audio, and transcription.engine is 'reference'"):
        planned(project)


def test_more_than_the_disk_holds_is_refused(project, monkeypatch):
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 100_000, 100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"24 altered recordings need 0.0 GB.*choose fewer by --largest"):
        planned(project)


def test_the_command_refuses_in_a_sentence(project):
    result = CliRunner().invoke(cli.app, ["robustness", "--project", str(project), "--conditions", "rooms"])
    assert result.exit_code == 1
    assert (
        result.stderr == "error: --conditions names rooms, which needs --rooms FOLDER with impulse responses of rooms\n"
    )
