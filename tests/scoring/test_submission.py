"""The challenge's files, from tables made by hand."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PRIMARY
from pipeline_lib.scoring.submission import check_submission, write_submission
from pipeline_lib.tables import manifest, predictions
from pipeline_lib.tables.manifest import SCHEMA, Manifest
from pipeline_lib.tables.predictions import Predictions

# the file names are in another order than the identifiers: the rows follow the files
FILES = {"a": "MSP_0003.wav", "b": "MSP_0001.wav", "c": "MSP_0002.wav"}
ALL = (*PRIMARY, "O", "X")  # anger contempt disgust fear happiness neutral sadness surprise


def corpus(**changes) -> Manifest:
    rows = [
        {"utterance_id": utterance, "audio": f"Audios/{name}", "split": "test3", "subsets": []}
        for utterance, name in FILES.items()
    ]
    rows += [{"utterance_id": "d", "audio": "Audios/MSP_0009.wav", "split": "dev", "subsets": [], "emotion": "fear"}]
    frame = pd.DataFrame(rows).reindex(columns=SCHEMA.names)
    for name in ("arousal", "valence", "dominance", "duration_s"):
        frame[name] = frame[name].astype("float64")
    return replace(Manifest(frame, "msp_podcast", PRIMARY, (1.0, 7.0)), **changes)


def posterior(**chosen) -> np.ndarray:
    """Return rows that hold 0.6 and 0.4 at the two labels that are named for each of a, b, c, d."""
    rows = np.zeros((4, len(ALL)))
    for row, utterance in enumerate("abcd"):
        first, second = chosen.get(utterance, "neutral happiness").split()
        rows[row, ALL.index(first)] += 0.6
        rows[row, ALL.index(second)] += 0.4
    return rows


def categories(**chosen) -> Predictions:
    return Predictions(np.array(list("abcd"), dtype=object), "fused", ALL, posterior(**chosen))


def attributes(values, names=("arousal", "valence", "dominance")) -> Predictions:
    rows = np.array([*values, [4.0] * len(names)])
    return Predictions(np.array(list("abcd"), dtype=object), "fused", attribute_names=names, attributes=rows)


def written(tmp_path, predicted, task, split="test3", **changes):
    out = tmp_path / "submission.csv"
    notes = write_submission(out, Path("fused.parquet"), predicted, corpus(**changes), split, task)
    return out.read_bytes().decode(), notes


def test_categories_are_letters_by_file_name_and_pseudo_labels_are_dropped_first(tmp_path):
    # b: O is the most probable, without it contempt is; c: X and O alone leave nothing, all are equal
    predicted = categories(a="surprise fear", b="O contempt", c="X O")
    text, notes = written(tmp_path, predicted, "categories")
    assert text == "FileName,EmoClass\nMSP_0001.wav,C\nMSP_0002.wav,A\nMSP_0003.wav,U\n"
    out = tmp_path / "submission.csv"
    tie = "1 choices were between equals; the first label in the manifest's order was taken"
    assert notes == [f"{out}: 3 utterances of test3", tie]
    assert check_submission(out, corpus(), "test3", "categories") == 3


@pytest.mark.parametrize("label, letter", zip(PRIMARY, "ACDFHNSU", strict=True))
def test_every_label_has_its_letter(label, letter, tmp_path):
    text, _ = written(tmp_path, categories(a=f"{label} {label}"), "categories")
    assert f"MSP_0003.wav,{letter}\n" in text


def test_between_equals_the_first_label_is_taken(tmp_path):
    rows = posterior()
    rows[0] = 0
    rows[0, [ALL.index("sadness"), ALL.index("disgust")]] = 0.5
    predicted = Predictions(np.array(list("abcd"), dtype=object), "fused", ALL, rows)
    text, notes = written(tmp_path, predicted, "categories")
    assert "MSP_0003.wav,D\n" in text and notes[1].startswith("1 choices were between equals")


def test_attributes_are_arousal_valence_dominance_and_clamped(tmp_path):
    # columns in another order than the challenge's; two of nine values are outside
    names = ("dominance", "arousal", "valence")
    predicted = attributes([[1.5, 7.25, 3.0], [2.0, 4.0, 0.5], [6.123456789, 1.0, 7.0]], names)
    text, notes = written(tmp_path, predicted, "attributes")
    assert text == (
        "FileName,EmoAct,EmoVal,EmoDom\n"
        "MSP_0001.wav,4.000000,1.000000,2.000000\n"
        "MSP_0002.wav,1.000000,7.000000,6.123457\n"
        "MSP_0003.wav,7.000000,3.000000,1.500000\n"
    )
    assert notes[1] == "2 of 9 values were outside 1 to 7 and are clamped"
    assert check_submission(tmp_path / "submission.csv", corpus(), "test3", "attributes") == 3


def test_values_on_the_networks_own_scale_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"9 of 9 values are outside 1 to 7, from -0.9 to 0.8 \(are they still on the"):
        written(tmp_path, attributes([[-0.9, 0.1, 0.2], [0.0, 0.3, 0.4], [0.5, 0.6, 0.8]]), "attributes")
    with pytest.raises(InputError, match="the manifest's attributes go from 1 to 5, the challenge's from 1 to 7"):
        written(tmp_path, attributes([[1.0, 2.0, 3.0]] * 3), "attributes", attribute_scale=(1.0, 5.0))
    assert not list(tmp_path.iterdir())


def test_an_utterance_without_prediction_is_named(tmp_path):
    predicted = categories()
    two = replace(predicted, utterance_ids=predicted.utterance_ids[[0, 3]], posterior=predicted.posterior[[0, 3]])
    with pytest.raises(InputError, match="lacks 2 of the 3 utterances of test3, 'b' first"):
        written(tmp_path, two, "categories")
    assert written(tmp_path, two, "categories", split="dev")[0] == "FileName,EmoClass\nMSP_0009.wav,N\n"


def test_a_table_of_the_other_task_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no attributes, only categories"):
        written(tmp_path, categories(), "attributes")
    with pytest.raises(InputError, match="holds no categories, only attributes"):
        written(tmp_path, attributes([[4.0, 4.0, 4.0]] * 3), "categories")
    with pytest.raises(InputError, match=r"lacks \['dominance'\], the challenge requires"):
        written(tmp_path, attributes([[4.0, 4.0]] * 3, ("arousal", "valence")), "attributes")


def test_labels_without_a_letter_are_refused(tmp_path):
    labels = (*PRIMARY[:-1], "calm")
    predicted = replace(categories(), labels=(*labels, "O", "X"))
    with pytest.raises(InputError, match="the manifest's label 'calm' has no letter"):
        written(tmp_path, predicted, "categories", labels=labels)


def test_two_utterances_in_files_of_one_name_and_one_without_a_file_are_refused(tmp_path):
    frame = corpus().frame.copy()
    frame.loc[1, "audio"] = "Other/MSP_0003.wav"
    with pytest.raises(InputError, match=r"'a' and 'b' are both in a file called 'MSP_0003.wav'"):
        written(tmp_path, categories(), "categories", frame=frame)
    frame.loc[1, "audio"] = None
    with pytest.raises(InputError, match="'b' has no audio in the manifest"):
        written(tmp_path, categories(), "categories", frame=frame)


GOOD = ["FileName,EmoClass", "MSP_0001.wav,A", "MSP_0002.wav,N", "MSP_0003.wav,U"]


@pytest.mark.parametrize(
    "lines, message",
    [
        (["FileName,Emo", *GOOD[1:]], "its first line is 'FileName,Emo', expected 'FileName,EmoClass'"),
        (["\ufeffFileName,EmoClass", *GOOD[1:]], "its first line is"),
        ([], "its first line is '', expected"),
        (
            [*GOOD[:2], "MSP_0002.wav,O", GOOD[3]],
            "line 3: EmoClass of MSP_0002.wav is 'O', expected one of A C D F H",
        ),
        ([*GOOD[:2], "MSP_0002.wav,n", GOOD[3]], "line 3: EmoClass of MSP_0002.wav is 'n'"),
        ([*GOOD[:2], "MSP_0002.wav", GOOD[3]], r"line 3: 1 fields, expected 2"),
        ([*GOOD, ""], r"line 5: 0 fields, expected 2"),
        ([*GOOD, GOOD[1]], "line 5: FileName 'MSP_0001.wav' appears twice"),
        ([*GOOD, "MSP_0009.wav,A"], "line 5: FileName 'MSP_0009.wav' is not in test3"),
        (["FileName,EmoClass", "MSP_0001,A", *GOOD[2:]], "line 2: FileName 'MSP_0001' is not in test3"),
        (GOOD[:-1], "lacks 1 of the 3 files of test3, 'MSP_0003.wav' first"),
    ],
)
def test_a_file_of_categories_is_checked_line_by_line(lines, message, tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join(lines) + ("\n" if lines else ""), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        check_submission(path, corpus(), "test3", "categories")


@pytest.mark.parametrize("value", ["0.999999", "7.01", "nan", "inf", "", "four", "4,0"])
def test_a_number_outside_the_scale_or_none_is_refused(value, tmp_path):
    path = tmp_path / "theirs.csv"
    rows = ["MSP_0001.wav,1,7,4.5", f'MSP_0002.wav,1,"{value}",1', "MSP_0003.wav,1,1,1"]
    path.write_text("\n".join(["FileName,EmoAct,EmoVal,EmoDom", *rows]))
    with pytest.raises(
        InputError, match=rf"line 3: EmoVal of MSP_0002.wav is '{value}', expected a number from 1 to 7"
    ):
        check_submission(path, corpus(), "test3", "attributes")


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no CSV file in UTF-8"):
        check_submission(path, corpus(), "test3", "categories")
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        check_submission(tmp_path / "no.csv", corpus(), "test3", "categories")


def test_the_command_writes_checks_and_refuses_without_torch(tmp_path):
    manifest.write(tmp_path / "data/manifest.parquet", corpus())
    predictions.write(tmp_path / "data/fused.parquet", categories(a="surprise fear"))

    def command(*words):
        begin = (
            "import sys; sys.argv = ['ser', 'submission', *{words}]; from pipeline_lib.cli import main\n"
            "try: main()\n"
            "finally: assert not {{'torch', 'transformers'}} & set(sys.modules)"
        )
        source = f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); " + begin.format(words=list(words))
        return subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True)

    wrote = command("data/fused.parquet", "--task", "categories", "--split", "test3", "--out", "new/submission.csv")
    assert (wrote.returncode, wrote.stdout) == (0, "new/submission.csv: 3 utterances of test3\n"), wrote.stderr
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["submission.csv"]
    checked = command("--check", "new/submission.csv")
    assert checked.stdout == "new/submission.csv: 3 utterances of test3, all as the task requires\n", checked.stderr
    assert "has no split or subset 'test9'" in command("data/fused.parquet", "--split", "test9").stderr
    assert "give either a table of predictions or --check" in command().stderr
