"""Utterances of a manifest and of files of one's own: parts, lengths, presence, and what a worker gets."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib import modalities
from pipeline_lib.encoders.load import LOADERS
from pipeline_lib.errors import InputError
from pipeline_lib.experts import availability, utterances
from pipeline_lib.experts.readers import Reader
from pipeline_lib.experts.utterances import READERS, from_files, from_manifest
from pipeline_lib.modalities import MODALITIES, Modality
from tests.scoring.corpora import drawn_manifest

NAMES = ("audio", "text")


@pytest.fixture
def files(tmp_path):
    """Return paths of three recordings in two folders, of 0.5, 0.25 and 1 seconds."""
    paths = [tmp_path / "b" / "second.wav", tmp_path / "a" / "first.wav", tmp_path / "b" / "third.wav"]
    for i, (path, seconds) in enumerate(zip(paths, (0.5, 0.25, 1.0))):
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).uniform(-0.3, 0.3, int(16_000 * seconds))
        soundfile.write(path, noise, 16_000, subtype="FLOAT")
    return paths


def test_every_modality_has_a_loader_and_a_reader():
    assert set(READERS) == set(LOADERS) == set(MODALITIES)


def test_files_are_read_whole_and_in_chunks_sorted_by_their_names(files):
    read = from_files({"audio": files})
    assert read.ids.tolist() == ["first", "second", "third"] and read.modalities == ("audio",)
    np.testing.assert_allclose(read.lengths, [0.25, 0.5, 1.0])
    assert read.present.tolist() == [[True]] * 3
    whole = soundfile.read(files[2], dtype="float32")[0]
    np.testing.assert_array_equal(read.read(2, 0.0, None)[0], whole)
    np.testing.assert_array_equal(read.read(2, 0.25, 0.5)[0], whole[4_000:12_000])


def test_files_and_texts_are_joined_and_either_may_be_missing(files):
    given = {"text": ["a b", None, "  "], "audio": [files[0], files[1], None]}
    read = from_files(given, ids=["x", "y", "z"])
    assert read.modalities == NAMES and read.present.tolist() == [[True, True], [True, False], [False, False]]
    audio, text = read.read(0, 0.0, None)
    assert len(audio) == 8_000 and text == "a b"
    assert read.read(2, 0.0, None) == (None, None)
    assert read.showing("text").read(0, 0.0, None) == (None, "a b")
    alone = from_files({"text": ["a b", "  ", None]})
    assert alone.ids.tolist() == ["000000", "000001", "000002"] and alone.lengths.tolist() == [3.0, 2.0, 0.0]
    assert alone.present[:, 0].tolist() == [True, True, False]  # to an expert of texts alone a blank one is a text


def test_an_expert_of_both_reads_files_without_texts(files):
    read = from_files({"audio": files}, modalities=NAMES)
    assert read.present.tolist() == [[True, False]] * 3
    assert read.read(0, 0.0, 0.1)[1] is None


def test_names_that_two_files_share_are_refused(files):
    with pytest.raises(InputError, match="2 utterances have 1 different identifiers, expected one each; pass them"):
        from_files({"audio": [files[0], files[0]]})
    with pytest.raises(InputError, match="expected as many of each modality"):
        from_files({"audio": files, "text": ["a"]})


def test_short_waveforms_are_filled_and_cached_ones_equal_decoded_ones(files):
    class Encoder:
        minimum_samples = 6_000

    read = from_files({"audio": files})
    fitted = read.fitted({"audio": Encoder})
    assert [len(fitted.read(row, 0.0, None)[0]) for row in range(3)] == [6_000, 8_000, 16_000]
    assert fitted.fitted({"audio": Encoder}).read.readers["audio"] is fitted.read.readers["audio"]
    before = [fitted.read(row, 0.1, 0.2)[0] for row in range(3)]
    reader = fitted.read.readers["audio"]
    assert not reader.cache(np.arange(3), 1.75 * 64_000 / 1e9 - 1e-9)
    assert reader.cache(np.arange(3), 1.75 * 64_000 / 1e9)
    for row, expected in enumerate(before):
        np.testing.assert_array_equal(fitted.read(row, 0.1, 0.2)[0], expected)
    sent = pickle.loads(pickle.dumps(fitted.without_cache()))  # noqa: S301
    assert sent.read.readers["audio"].cached is None and sent.content == {"audio": []}
    np.testing.assert_array_equal(sent.read(0, 0.1, 0.2)[0], before[0])


def test_frames_come_in_place_of_what_is_read_where_there_are_some():
    read = from_files({"text": ["a", "b"]}).with_frames({"text": {1: "frames"}})
    assert [read.read(row, 0.0, None) for row in (0, 1)] == [("a",), ("frames",)]


def test_a_third_modality_is_a_row_and_a_reader(monkeypatch):
    def vectors(source):
        parts = [part if isinstance(part, str) else None for part in source.corpus.frame["video"]]
        return Reader(parts, np.full(len(parts), 3.0))

    monkeypatch.setitem(modalities.MODALITIES, "video", Modality("video", "video", "seconds", "video"))
    monkeypatch.setitem(utterances.READERS, "video", vectors)
    corpus = drawn_manifest()
    parts = np.array([None if row % 2 else f"v{row}" for row in range(len(corpus))], dtype=object)
    seconds = np.where(np.arange(len(corpus)) < 5, np.nan, 7.0)
    frame = corpus.frame.assign(
        audio=[None if row < 5 else "a.wav" for row in range(len(corpus))],
        duration_s=seconds,
        video=parts,
        reference_text="a b c d e f g h",
    )
    read = from_manifest(replace(corpus, frame=frame), Path(), (*NAMES, "video"), text="reference")
    assert read.present[:2].tolist() == [[False, True, True], [False, True, False]]
    assert read.lengths[:6].tolist() == [1.0] * 5 + [7.0]  # 15 characters a second where there is no audio
    assert read.read(0, 0.0, None) == (None, "a b c d e f g h", "v0")
    assert read.showing("text+video").read(1, 0.0, None) == (None, "a b c d e f g h", None)
    pair = availability.shows(read.present, read.modalities, "text+video")
    assert pair.tolist() == [row % 2 == 0 for row in range(len(corpus))]
    (line,) = availability.presence_lines(read.present[:6], read.modalities)
    assert line == (
        "0 utterances with audio and text and video, 0 with audio alone, 2 with text alone, 0 with video alone,"
        " 1 with audio and text alone, 0 with audio and video alone, 3 with text and video alone, 0 with none"
    )


def in_dialogues():
    """Return a manifest of drawn utterances whose speakers each hold one dialogue, and texts, some of them empty."""
    corpus = drawn_manifest()
    n = len(corpus)
    texts = ["" if row % 5 == 4 else f"text {row}" for row in range(n)]
    frame = corpus.frame.assign(reference_text=texts, dialogue=corpus.frame["speaker"], turn=range(n))
    return replace(corpus, frame=frame), texts


def test_with_a_context_a_text_is_a_tuple_of_previous_turns_and_itself():
    corpus, texts = in_dialogues()
    read = from_manifest(corpus, Path(), ("text",), text="reference", context=2)
    assert read.context == 2
    assert [read.read(row, 0.0, None)[0] for row in (0, 1, 4, 6, 12)] == [
        ("text 0",),
        ("text 0", "text 1"),
        ("text 2", "text 3", ""),  # to an expert of texts alone an empty one is a text, and no context to others
        ("text 3", "text 5", "text 6"),
        ("text 12",),  # of the next speaker
    ]
    assert read.lengths[[0, 4, 6]].tolist() == [6.0, 12.0, 18.0]
    assert read.content["text"][1] == ["text 0", "text 1"]  # what fingerprints hold
    plain = from_manifest(corpus, Path(), ("text",), text="reference")
    assert plain.context == 0 and plain.read(6, 0.0, None) == ("text 6",) and plain.content["text"] == texts


def test_asr_transcripts_are_the_context_of_asr_transcripts():
    corpus, _ = in_dialogues()
    spoken = [f"asr {row}" for row in range(len(corpus))]
    read = from_manifest(corpus, Path(), ("text",), spoken, context=1)
    assert read.read(5, 0.0, None) == (("asr 4", "asr 5"),)


def test_several_modalities_have_a_context_where_they_have_a_text():
    corpus, _ = in_dialogues()
    corpus = replace(corpus, frame=corpus.frame.assign(audio=None, duration_s=np.nan))
    read = from_manifest(corpus, Path(), NAMES, text="reference", context=2)
    assert read.read(4, 0.0, None) == (None, None) and not read.present[4].any()
    assert read.read(6, 0.0, None)[1] == ("text 3", "text 5", "text 6")


def test_files_of_ones_own_are_turns_of_dialogues_in_the_order_given():
    given = {"text": ["one", "two", "other", "three"]}
    read = from_files(given, ids=["d", "c", "b", "a"], context=2, dialogues=["x", "x", "y", "x"])
    assert read.ids.tolist() == ["a", "b", "c", "d"]
    assert [read.read(row, 0.0, None)[0] for row in range(4)] == [
        ("one", "two", "three"),
        ("other",),
        ("one", "two"),
        ("one",),
    ]
    alone = from_files(given, context=2)
    assert [alone.read(row, 0.0, None)[0] for row in (0, 3)] == [("one",), ("three",)]


def test_a_context_needs_dialogues():
    with pytest.raises(InputError, match="context is 2 and drawn has no dialogues"):
        from_manifest(drawn_manifest(), Path(), ("text",), ["a"] * 120, context=2)
