"""What `ser start` reads: layouts, tables as people keep them, folders named by emotion."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib.corpus import table
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.start import labels, layouts, splits
from pipeline_lib.start.inspect import inspect

OPEN = dict.fromkeys(("emotion", "audio", "speaker", "reference_text"))
EMOTIONS = ("anger", "sadness")


def tone(path: Path, seconds: float = 0.25) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.3 * np.sin(np.arange(round(16_000 * seconds)) * (0.05 + len(path.name) / 100))
    soundfile.write(path, samples.astype(np.float32), 16_000, format="WAV")


@pytest.fixture
def recordings(tmp_path):
    """Write ten recordings, five of each emotion, of five speakers, and return the rows of their table."""
    rows = []
    for speaker in range(5):
        for emotion in EMOTIONS:
            tone(tmp_path / "wav" / f"{emotion}{speaker}.wav")
            rows.append((f"wav/{emotion}{speaker}.wav", emotion, f"s{speaker}"))
    return rows


def read_back(corpus):
    """Return the frame of the strict reader on the table that is to be written."""
    (corpus.root / "written.csv").write_text(corpus.text, encoding="utf-8")
    values = {"reader": "table", "root": str(corpus.root), "table": {"file": "written.csv"}}
    return table.read(corpus.root, CorpusSettings.parse({**values, "split": {"method": "random"}}, "corpus"))


def written(folder: Path, rows, header="audio,emotion,speaker", separator=",", encoding="utf-8"):
    text = "\n".join([header, *(",".join(row) for row in rows)]) + "\n"
    path = folder / "corpus.csv"
    path.write_bytes(text.replace(",", separator).encode(encoding))
    return path


def test_a_table_that_the_reader_takes_is_read_as_it_is(tmp_path, recordings):
    corpus = inspect(written(tmp_path, recordings), None, OPEN)
    assert (corpus.text, corpus.settings["table"], corpus.notes) == (None, {"file": "corpus.csv"}, [])
    assert corpus.labels == EMOTIONS and corpus.frame["speaker"].nunique() == 5
    assert corpus.hours == pytest.approx(10 * 0.25 / 3600)


CHANGES = {  # what is written otherwise: header, separator, encoding, change of a path
    "semicolons": {"separator": ";"},
    "tabs": {"separator": "\t"},
    "UTF-16": {"encoding": "utf-16"},
    "headers": {"header": "path,label,speaker_id"},
    "back-slashes": {"change": lambda path: path.replace("/", "\\")},
    "capitals": {"change": lambda path: path.replace(".wav", ".WAV")},
    "no suffix": {"change": lambda path: path.removesuffix(".wav")},
    "other folders": {"change": lambda path: f"/home/anna/{path}"},
    "Windows": {"change": lambda path: "C:\\data\\" + path.replace("/", "\\")},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_table_in_other_words_is_read_and_every_change_is_named(tmp_path, recordings, changes):
    change = changes.get("change", str)
    options = {name: value for name, value in changes.items() if name != "change"}
    path = written(tmp_path, [(change(audio), *more) for audio, *more in recordings], **options)
    before = path.read_bytes()
    corpus = inspect(path, None, OPEN)
    assert corpus.notes and path.read_bytes() == before
    frame = read_back(corpus)
    assert [*zip(frame["audio"], frame["emotion"], frame["speaker"])] == recordings


def test_a_byte_order_mark_and_absolute_paths_below_the_root_need_no_other_table(tmp_path, recordings):
    rows = [(str(tmp_path / audio), *more) for audio, *more in recordings]
    corpus = inspect(written(tmp_path, rows, encoding="utf-8-sig"), None, OPEN)
    frame = corpus.frame
    assert [*zip(frame["audio"], frame["emotion"], frame["speaker"])] == recordings


def test_decimal_commas_are_points_and_the_scale_is_proposed(tmp_path, recordings):
    rows = [(audio, emotion, f"{1 + i / 4:.2f}".replace(".", ",")) for i, (audio, emotion, _) in enumerate(recordings)]
    (tmp_path / "c.csv").write_text("audio;emotion;arousal\n" + "\n".join(";".join(row) for row in rows))
    corpus = inspect(tmp_path / "c.csv", None, OPEN)
    assert corpus.frame["arousal"].tolist() == [1 + i / 4 for i in range(10)]
    assert corpus.settings["attribute_scale"] == [1.0, 5.0]
    assert any("10 decimal commas" in note for note in corpus.notes)


def test_labels_are_merged_where_another_spelling_is_known(tmp_path, recordings):
    rows = [(audio, {"anger": "Angry", "sadness": "SAD"}[emotion], s) for audio, emotion, s in recordings]
    corpus = inspect(written(tmp_path, rows), None, OPEN)
    assert corpus.settings["merge"] == {"Angry": "anger", "SAD": "sadness"} and corpus.labels == EMOTIONS


def test_a_spelling_stands_under_one_emotion_and_no_emotion_under_another():
    spellings = [spelling for names in labels.SPELLINGS.values() for spelling in names]
    assert len(spellings) == len({*spellings}) and not {*spellings} & {*labels.SPELLINGS}
    assert labels.merge(["ANG", "joy", "A"]) == {"ANG": "anger", "joy": "happiness"}


def test_a_label_of_few_utterances_or_of_none_is_left_out(tmp_path, recordings):
    tone(tmp_path / "wav" / "one.wav")
    corpus = inspect(written(tmp_path, [*recordings, ("wav/one.wav", "fear", "s1")]), None, OPEN)
    assert (corpus.labels, corpus.left_out, corpus.settings["labels"]) == (EMOTIONS, {"fear": 1}, [*EMOTIONS])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("audio,what,speaker", "no column of labels that is known by its name; name it, --label COLUMN, one of"),
        ("thing,emotion,speaker", "no column of recordings or texts that is known by its name; name it, --audio"),
        ("audio,label,class", "has the columns ['label', 'class']: name the one that is the label, --label COLUMN"),
    ],
)
def test_a_column_that_is_not_known_is_asked_for(tmp_path, recordings, header, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        inspect(written(tmp_path, recordings, header=header), None, OPEN)


def test_a_named_column_is_read(tmp_path, recordings):
    path = written(tmp_path, recordings, header="thing,what,who")
    corpus = inspect(path, None, {**OPEN, "emotion": "what", "audio": "thing", "speaker": "who"})
    frame = read_back(corpus)
    assert [*zip(frame["audio"], frame["emotion"], frame["speaker"])] == recordings
    with pytest.raises(InputError, match="has no column 'nothing', its columns are"):
        inspect(path, None, {**OPEN, "emotion": "nothing"})


def test_a_path_that_two_recordings_could_be_is_missing_not_guessed(tmp_path, recordings):
    tone(tmp_path / "other" / "anger0.wav")
    rows = [(Path(audio).name, *more) for audio, *more in recordings]
    corpus = inspect(written(tmp_path, rows), None, OPEN)
    assert any("1 recordings are missing, 'anger0.wav' first" in note for note in corpus.notes)


def test_recordings_that_are_nowhere_are_an_error_that_names_root(tmp_path, recordings):
    path = written(tmp_path / "wav", [(f"x{audio.replace('/', '')}", *more) for audio, *more in recordings])
    with pytest.raises(InputError, match="none of its 10 recordings lies below .*--root FOLDER"):
        inspect(path, None, OPEN)


def test_no_path_of_a_table_leaves_the_root(tmp_path, recordings):
    tone(tmp_path.parent / "outside.wav")
    rows = [*recordings, ("../outside.wav", "anger", "s1"), (str(tmp_path.parent / "outside.wav"), "anger", "s1")]
    corpus = inspect(written(tmp_path, rows), None, OPEN)
    read_back(corpus)  # the strict reader refuses what climbs
    assert not any((corpus.root / path).is_file() for path in corpus.frame["audio"][10:])


def folder(root: Path, names, emotions=("Angry", "sad")):
    for emotion in emotions:
        for name in names:
            tone(root / emotion / f"{name}.wav")
    return root


def test_folders_named_by_emotion_are_a_table_without_speakers(tmp_path):
    corpus = inspect(folder(tmp_path, [f"{i:03d}" for i in range(5)]), None, OPEN)
    frame = read_back(corpus)
    assert frame["speaker"].isna().all() and any("not marked by any part of the paths" in note for note in corpus.notes)
    assert {*zip(frame["emotion"], frame["audio"].str.split("/").str[0])} == {("Angry", "Angry"), ("sad", "sad")}
    assert corpus.settings["merge"] == {"Angry": "anger", "sad": "sadness"}


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        ([f"SM{s}_F{i}_A0{i}" for s in (1, 2) for i in range(1, 4)], {"SM1", "SM2"}),
        ([f"{i}-f{s}" for s in (1, 2) for i in range(3)], set()),  # f alone may number files
        ([f"{i}-{s}" for s in ("f1", "m1") for i in range(3)], {"f1", "m1"}),
        ([f"s{s}_{i}" for s in (1, 2) for i in range(3)], set()),  # s may number sentences
        ([f"spk{i}" for i in range(6)], set()),  # each once a folder: they may number recordings
        ([f"Actor_0{s}_{i}" for s in (1, 2) for i in range(3)], {"Actor01", "Actor02"}),
    ],
)
def test_speakers_come_from_names_only_where_a_part_marks_them(tmp_path, names, speakers):
    corpus = inspect(folder(tmp_path, names), None, OPEN)
    assert {*corpus.frame["speaker"].dropna()} == speakers


def test_a_pattern_names_speakers(tmp_path):
    folder(tmp_path, [f"{name}{i}" for name in ("ann", "bob") for i in range(3)])
    corpus = inspect(tmp_path, None, {**OPEN, "speaker": r"([a-z]+)\d\.wav"})
    assert {*corpus.frame["speaker"]} == {"ann", "bob"}
    with pytest.raises(InputError, match="no regular expression"):
        inspect(tmp_path, None, {**OPEN, "speaker": "("})


def test_splits_and_genders_among_the_folders_are_read(tmp_path):
    for part in ("train", "val", "test"):
        folder(tmp_path / part, [f"{part}{i}" for i in range(5)])
    corpus = inspect(tmp_path, None, OPEN)
    assert corpus.frame["split"].value_counts().to_dict() == {"train": 10, "dev": 10, "test": 10}


def test_a_mixed_folder_and_one_without_labels_are_errors(tmp_path):
    root = folder(tmp_path / "a", [f"{i}" for i in range(5)])
    for i in range(5):
        tone(root / "takes" / f"{i}.wav")
    with pytest.raises(InputError, match="is mixed: 10 recordings lie in folders named by emotion and 5 do not"):
        inspect(root, None, OPEN)
    labelled = inspect(root, None, {**OPEN, "emotion": "folder"})
    assert labelled.labels == ("anger", "sadness", "takes") and labelled.left_out == {}
    tone(tmp_path / "b" / "x" / "1.wav")
    with pytest.raises(InputError, match="no layout that is known, no table with labels and no folders named by"):
        inspect(tmp_path / "b", None, OPEN)
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="holds neither recordings .* nor one table"):
        inspect(tmp_path / "c", None, OPEN)
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "d", None, OPEN)


NATIVE = {  # a name of each reader that has its labels in names
    "ravdess": "03-01-{}-01-01-01-0{}",
    "emodb": "0{1}a01{0}a",
    "crema_d": "100{1}_DFA_{0}_XX",
    "tess": "OAF_word{1}_{0}",
    "nemo": "AB{1}_{0}_4",
}


@pytest.mark.parametrize("reader", NATIVE)
def test_native_names_are_recognised_in_any_folders(tmp_path, reader):
    codes = sorted(layouts.NAMES[reader][2])[:2]
    names = [NATIVE[reader].format(code, i) for code in codes for i in range(1, 6)]
    if reader == "tess":
        names = [name.replace("1", "a").replace("2", "b").replace("3", "c") for name in names]
        names = [name.replace("4", "d").replace("5", "e") for name in names]
    assert layouts.recognise(tmp_path, [f"x/{name}.wav" for name in names]) == (reader, tmp_path)
    assert layouts.recognise(tmp_path, [f"x/{name}.wav" for name in names] + ["other.wav"] * 3) is None


def test_folders_that_contradict_native_names_win(tmp_path):
    for i in range(1, 6):
        tone(tmp_path / "sad" / f"03-01-05-01-01-01-0{i}.wav")  # called anger
        tone(tmp_path / "fear" / f"03-01-04-01-01-01-0{i}.wav")  # called sadness
    corpus = inspect(tmp_path, None, OPEN)
    assert (corpus.reader, corpus.labels) == ("table", ("fear", "sadness"))


def test_a_part_of_a_native_corpus_scores_the_labels_that_it_has(tmp_path):
    for i in range(1, 6):
        for code in ("05", "04"):
            tone(tmp_path / f"Actor_0{i}" / f"03-01-{code}-01-01-01-0{i}.wav")
    corpus = inspect(tmp_path, None, OPEN)
    assert (corpus.reader, corpus.settings["labels"], corpus.text) == ("ravdess", ["anger", "sadness"], None)
    assert splits.propose(corpus.frame, corpus.labels, "ravdess").settings["folds"] == {"k": 5, "by": "speakers"}


def test_recordings_that_a_native_table_names_and_the_folder_lacks_are_counted(tmp_path):
    for i in range(1, 6):
        for emotion in EMOTIONS:
            tone(tmp_path / f"AB{i}_{emotion}_1.wav")
    rows = [
        f"AB{i}_{emotion}_{n},AB{i},female,{emotion},x" for i in range(1, 6) for emotion in EMOTIONS for n in (1, 2)
    ]
    (tmp_path / "manifest.csv").write_text("utterance_id,speaker,gender,emotion,reference_text\n" + "\n".join(rows))
    corpus = inspect(tmp_path, None, OPEN)
    assert corpus.reader == "nemo" and any("10 of 20 recordings are missing" in note for note in corpus.notes)


def test_audformat_tables_are_joined(tmp_path):
    (tmp_path / "db.yaml").write_text("name: x\n")
    for i in range(10):
        tone(tmp_path / "wav" / f"{i}.wav")
    names = ("anger", "sadness")
    for part, rows in (("train", range(6)), ("dev", range(6, 8)), ("test", range(8, 10))):
        lines = "".join(f"wav/{i}.wav,0 days,NaT,{names[i % 2]}\n" for i in rows)
        (tmp_path / f"db.emotion.{part}.csv").write_text("file,start,end,emotion\n" + lines)
    lines = "".join(f"wav/{i}.wav,p{i},0 days 00:00:01\n" for i in range(10))
    (tmp_path / "db.files.csv").write_text("file,speaker,duration\n" + lines)
    (tmp_path / "db.speaker.csv").write_text("speaker,gender\n" + "".join(f"p{i},female\n" for i in range(10)))
    frame = read_back(inspect(tmp_path, None, OPEN))
    assert frame["split"].value_counts().to_dict() == {"train": 6, "dev": 2, "test": 2}
    assert {*zip(frame["audio"], frame["speaker"])} == {(f"wav/{i}.wav", f"p{i}") for i in range(10)}
    assert {*frame["gender"]} == {"female"}
    assert frame["start_s"].isna().all()
