"""One name in several encodings is one name: speakers, utterances, labels, paths."""

import unicodedata

import pytest

from pipeline_lib.corpus import identity, layout
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError

SPLITS = ("train", "train", "train", "train", "dev", "test")
ZOE = "Zo\u00eb"


def decomposed(text):
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def own(tmp_path, say):
    """Write six recordings and a table; ``speakers`` of train, dev and test, ``names`` of files in the table."""

    def write(speakers=("a", "b", "c"), names=None, **columns):
        header = ["audio", "emotion", "split", "speaker", *columns]
        lines = [",".join(header)]
        for i, split in enumerate(SPLITS):
            if names is None:
                say(tmp_path / f"{i}.wav")
            speaker = dict(zip(("train", "dev", "test"), speakers, strict=True))[split]
            audio = names[i] if names else f"{i}.wav"
            row = [audio, ("anger", "fear")[i % 2], split, speaker, *(values[i] for values in columns.values())]
            lines.append(",".join(row))
        (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


@pytest.mark.parametrize("name", [ZOE, "김", "が", "Nguyễn", "\u212bngström"])  # the last: the sign of the unit
def test_a_speaker_in_two_unicode_forms_is_one_and_a_leak(own, settings, name):
    own((name, "b", decomposed(name)))
    with pytest.raises(InputError, match="1 speakers have utterances in two of train, .*in two Unicode forms"):
        collect(settings("table"))
    collected = collect(settings("table", allow_speaker_leak=True))
    composed = unicodedata.normalize("NFC", name)
    assert (collected.manifest.frame["speaker"] == composed).sum() == 5
    assert f"1 speaker ({composed!r}) is written in two Unicode forms" in collected.metrics["warnings"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("01", "1"),
        ("Anna", "anna"),
        ("s007", "s7"),
        ("Anna  B", "Anna B"),
        ("１", "1"),
        ("An\u200bna", "Anna"),
        ("1.0", "1"),
        ("s_1", "s-1"),
    ],
)
def test_speakers_that_differ_in_little_are_named_in_a_warning(own, settings, one, other):
    own((one, "b", other))
    collected = collect(settings("table"))
    first, second = sorted([one, other])
    assert (
        f"speakers {first!r} and {second!r} differ in capitals, blanks, dashes, width or"
        in collected.metrics["warnings"]
    )


def test_speakers_that_differ_are_not_warned_of():
    frame = layout.frame({"speaker": name} for name in ("s1", "s2", "s10", "Anna", "Hanna", "1a", "a1", None))
    assert identity.alike(frame) == []


def test_of_many_pairs_five_are_named():
    frame = layout.frame({"speaker": name} for i in range(7) for name in (f"p{chr(97 + i)}", f"P{chr(97 + i)}"))
    (warning,) = identity.alike(frame)
    assert warning.count(" and '") == 5 and "..." in warning


def test_a_file_decomposed_on_the_disk_and_composed_in_the_table_is_read(tmp_path, own, say, settings):
    for i in range(6):
        say(tmp_path / decomposed(f"héros_{i}.wav"))
    own(names=[f"héros_{i}.wav" for i in range(6)])
    frame = collect(settings("table")).manifest.frame
    assert frame["audio"].tolist() == [decomposed(f"héros_{i}.wav") for i in range(6)]
    assert frame["utterance_id"].tolist() == [f"h\u00e9ros_{i}" for i in range(6)]


def test_a_file_composed_on_the_disk_and_decomposed_in_the_table_in_a_folder_is_read(tmp_path, own, say, settings):
    for i in range(6):
        say(tmp_path / "Zoë" / f"{i}.wav")
    own(names=[decomposed(f"Zoë/{i}.wav") for i in range(6)])
    assert len(collect(settings("table")).manifest) == 6


def test_between_two_forms_on_the_disk_nothing_is_guessed(tmp_path, say):
    mixed = "e\u0301\u00e9.wav"
    say(tmp_path / decomposed(mixed))
    say(tmp_path / unicodedata.normalize("NFC", mixed))
    assert identity.find_paths(tmp_path, [mixed]) == ({}, {})


def test_a_file_that_differs_in_capitals_is_named_and_not_taken(tmp_path, own, settings):
    own()
    own(names=["0.WAV", *(f"{i}.wav" for i in range(1, 6))])
    (reason,) = collect(settings("table")).quarantine["reason"]
    assert reason == "missing: does not exist (capitals? there is 0.wav)"


def test_utterances_that_differ_in_their_encoding_alone_collide(own, settings):
    ids = [ZOE, decomposed(ZOE), "c", "d", "e", "f"]
    own(utterance_id=ids)
    collected = collect(settings("table"))
    assert collected.metrics["rows"]["kept"] == 5 and collected.metrics["quarantined"] == {"contradictory": 1}


def test_settings_name_speakers_utterances_and_labels_in_any_form(own, settings):
    own(("a", "b", ZOE), utterance_id=["é", *"bcdef"])
    split = {"method": "speakers", "test_speakers": [decomposed(ZOE)], "dev_speakers": ["b"]}
    frame = collect(settings("table", split=split, exclude=[decomposed("é")], labels=None)).manifest.frame
    assert set(frame["split"][frame["speaker"] == ZOE]) == {"test"} and "é" not in set(frame["utterance_id"])


def test_votes_in_two_forms_are_added_up():
    frame = layout.frame([{"emotion": decomposed("colère"), "votes": {"colère": 2, decomposed("colère"): 1}}])
    identity.normalise(frame)
    assert frame["emotion"][0] == "col\u00e8re" and frame["votes"][0] == {"col\u00e8re": 3}
