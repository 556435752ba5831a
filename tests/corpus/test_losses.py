"""Lost rows are counted and printed, and refused where there are many."""

import json

import pytest

from pipeline_lib.corpus import checking, layout, losses
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import MaxQuarantinedSettings
from pipeline_lib.tables.segments import WHOLE
from stages.corpus import main


def rows(lost, n, split="train", reason="missing: does not exist"):
    return [{"audio": f"{split}{i}.wav", "split": split, "reject": reason if i < lost else None} for i in range(n)]


def check(tmp_path, *parts, **limit):
    frame = layout.frame(row for part in parts for row in part)
    losses.check(tmp_path, frame, MaxQuarantinedSettings(**limit))


@pytest.mark.parametrize(
    ("lost", "n", "limit"),
    [
        (5, 6, {}),  # five files whatever the share
        (5, 100, {}),
        (50, 1000, {}),
        (0, 3, {"share": 0.0, "files": 0}),
        (90, 100, {"share": 0.9}),
        (100, 100, {"share": 1.0}),
        (60, 100, {"files": 60}),
    ],
)
def test_so_much_may_be_lost(tmp_path, lost, n, limit):
    check(tmp_path, rows(lost, n), rows(0, 9, "test"), **limit)


@pytest.mark.parametrize(
    ("lost", "n", "limit"),
    [
        (6, 7, {}),
        (6, 100, {}),
        (51, 1000, {}),
        (2, 2, {}),  # all of a split
        (1, 100, {"share": 0.0, "files": 0}),
        (91, 100, {"share": 0.9}),
        (4370, 4481, {}),
    ],
)
@pytest.mark.parametrize("split", ["train", "dev", "test2"])
def test_so_much_may_not(tmp_path, lost, n, limit, split):
    with pytest.raises(
        InputError, match=rf"^{lost:,} of {n:,} rows of split '{split}' cannot be used: missing {lost:,} "
    ):
        check(tmp_path, rows(lost, n, split), rows(0, 500, "unlabelled"), **limit)


def test_the_message_has_reasons_examples_the_folder_and_the_parameter(tmp_path):
    lost = [*rows(3, 3), *rows(2, 2, reason="empty: has no bytes"), *rows(4, 4, reason="nan: x")]
    with pytest.raises(InputError) as raised:
        check(tmp_path, lost, rows(1, 1, reason="silent: x"), rows(0, 9))
    text = str(raised.value)
    assert text.startswith("10 of 19 rows of split 'train' cannot be used: nan 4, missing 3, empty 2, ... (train0.wav:")
    assert f"looked for below {tmp_path}: is the corpus there as a whole" in text
    assert "corpus.max_quarantined takes 5% of a split, at least 5 rows" in text


def test_copies_excluded_and_known_bad_ones_are_no_loss(tmp_path):
    for reason in ("copy: a.wav is taken", "duplicate utterance_id: x", "excluded: x", "known bad: x"):
        check(tmp_path, rows(50, 60, reason=reason))


def test_items_without_split_count_against_the_whole(tmp_path):
    stray = rows(6, 6, None, "misnamed: x")
    check(tmp_path, stray, rows(0, 114))
    with pytest.raises(InputError, match="6 of 119 rows of the corpus cannot be used: misnamed 6"):
        check(tmp_path, stray, rows(0, 113))


@pytest.fixture
def own(tmp_path, say):
    """Write 40 recordings of two emotions in three splits, and their table."""
    lines = ["audio,emotion,split,speaker"]
    for i in range(40):
        split = ("train", "train", "dev", "test")[i % 4]
        say(tmp_path / f"{i:02d}.wav")
        lines.append(f"{i:02d}.wav,{'awe' if i in (0, 4) else ('anger', 'fear')[i // 4 % 2]},{split},s{split}")
    (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_half_downloaded_corpus_stops_and_a_whole_one_says_nothing(own, settings):
    labels = ["anger", "fear"]
    assert collect(settings("table", labels=labels)).notices == ()
    for i in range(0, 24, 4):
        (own / f"{i:02d}.wav").unlink()
    with pytest.raises(InputError, match=r"6 of 20 rows of split 'train' cannot be used: missing 6 \(00\.wav: missing"):
        collect(settings("table", labels=labels))
    result = collect(settings("table", labels=labels, max_quarantined={"share": 0.3}))
    assert result.notices == (
        "6 of 40 rows are quarantined (missing 6); data/quarantine.parquet has each with its reason.",
    )


def test_a_label_emptied_by_missing_files_is_said_to_be(own, settings):
    for i in (0, 4):
        (own / f"{i:02d}.wav").unlink()
    with pytest.raises(
        InputError, match=r"label 'awe' has 2 utterances in train and none of them can be used: missing 2"
    ):
        collect(settings("table"))
    assert len(collect(settings("table", labels=["anger", "fear"])).manifest) == 38


def test_marks_in_the_texts_of_a_table_are_said(own, settings):
    table = (own / "corpus.csv").read_text().splitlines()
    texts = ["reference_text", "[LAUGHTER] oh", *["yes"] * 38, "<noise> [BREATHING]"]
    (own / "corpus.csv").write_text("\n".join(f"{row},{text}" for row, text in zip(table, texts, strict=True)))
    warnings = collect(settings("table", labels=["anger", "fear"])).metrics["warnings"]
    assert "3 marks in brackets, [LAUGHTER] for example, are words to a text expert" in warnings


def test_the_stage_prints_what_it_leaves_out(own, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out")
    (own / "05.wav").write_bytes(b"")
    corpus = {"reader": "table", "root": str(own), "labels": ["anger", "fear"]}
    (out / "params.yaml").write_text(json.dumps({"corpus": corpus}))
    tables = {"out": out / "manifest.parquet", "quarantine": out / "quarantine.parquet"}
    main(out / "params.yaml", **tables, metrics=out / "corpus.json")
    assert "warning: 1 of 40 rows are quarantined (empty 1); data/quarantine.parquet has" in capsys.readouterr().err
    metrics = json.loads((out / "corpus.json").read_text())
    assert metrics["rows"] == {"read": 40, "kept": 39, "copies": 0, "quarantined": 1}


def test_one_value_off_the_scale_costs_its_turn_and_a_wrong_scale_stops(tmp_path, say, settings):
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    (tmp_path / "Labels").mkdir()
    splits = ("Train", "Train", "Train", "Train", "Development", "Test1")
    for wrong, expected in ((1, None), (6, r"of 'u0' arousal is 55, the corpus's scale goes from 1 to 7 \(6 utter")):
        lines = [f"u{i}.wav,{'AH'[i % 2]},{55 if i < wrong else 5},5,5,{i},Male,{s}\n" for i, s in enumerate(splits)]
        (tmp_path / "Labels" / "labels_consensus.csv").write_text(header + "".join(lines))
        for i in range(6):
            say(tmp_path / "Audios" / f"u{i}.wav")
        options = settings("msp_podcast", labels=["anger", "happiness"])
        if expected:
            with pytest.raises(InputError, match=expected):
                collect(options)
        else:
            assert collect(options).metrics["quarantined"] == {"off scale": 1}


def test_a_path_is_refused_for_what_is_wrong_with_it(tmp_path):
    (tmp_path / "root").mkdir()
    root = tmp_path / "root"
    (tmp_path / "elsewhere.wav").touch()
    (root / "out.wav").symlink_to(tmp_path / "elsewhere.wav")
    (root / "a.wav").symlink_to(root / "b.wav")
    (root / "b.wav").symlink_to(root / "a.wav")
    expected = {
        "out.wav": ("outside", "out.wav leads to "),
        "a.wav": ("unreadable", "a.wav cannot be followed: "),
        "/etc/passwd": ("outside", "'/etc/passwd' is no path below corpus.root; "),
        "../elsewhere.wav": ("outside", "'../elsewhere.wav' is no path below corpus.root; "),
        "none.wav": ("missing", "does not exist"),
    }
    for path, (reason, message) in expected.items():
        (checked,) = checking.check_parts(root, checking.Limits(0.1, None), ((path, None), (WHOLE,)))
        assert checked.reason == reason and checked.message.startswith(f"{reason}: {message}")
