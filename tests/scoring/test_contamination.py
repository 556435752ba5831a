"""Checkpoints named in parameters, the corpora that they have seen, and the form of the list."""

import pytest

from pipeline_lib.corpus.readers import READERS
from pipeline_lib.scoring.contamination import checkpoints, contamination, load, names_of, used_checkpoints

AUDEERING = "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim"


def test_checkpoints_are_found_at_any_depth_but_for_those_without_their_weights():
    params = {
        "audio": {"encoders": [{"checkpoint": "one", "pretrained": True}, {"checkpoint": "two", "pretrained": False}]},
        "text": {"encoder": {"checkpoint": "three"}, "epochs": 3},
    }
    assert list(checkpoints(params)) == ["one", "three"]
    assert list(checkpoints(None)) == []


def test_those_of_embeddings_experts_and_the_chosen_recogniser_are_used():
    engines = {"canary": {"checkpoint": "canary"}, "whisper": {"checkpoint": "whisper"}}
    params = {
        "embedding": {"a": {"encoder": {"checkpoint": "one"}}},
        "finetuning": {"b": {"encoder": {"checkpoint": "two"}}},
    }
    assert used_checkpoints({"transcription": {"engine": "whisper", **engines}, **params}) == ["whisper", "one", "two"]
    assert used_checkpoints({"transcription": {"engine": "reference", **engines}, **params}) == ["one", "two"]
    assert used_checkpoints({"embedding": {}, "finetuning": {}}) == []


@pytest.mark.parametrize("checkpoint", [AUDEERING, "models/wav2vec2-large-robust-12-ft-emotion-msp-dim/"])
@pytest.mark.parametrize(
    "names",
    [["msp_podcast"], ["MSP-Podcast 1.12"], ["MSPPodcast11"], ["mine", "msp_podcast"], ["msp podcast, test 3"]],
)
def test_labels_that_were_seen_are_warned_of_by_name_prefix_and_reader(checkpoint, names):
    result = contamination([checkpoint, checkpoint, "facebook/hubert-base-ls960"], names)
    (warning,) = result.warnings
    assert warning == (
        f"checkpoint {checkpoint} was trained on the emotion labels of MSP-Podcast (paper, 2023: Wagner et al., Dawn of"
        " the transformer era, IEEE TPAMI 45(9)): scores on it flatter"
    )
    assert result.notes == []


@pytest.mark.parametrize("name", ["ravdess", "mspodcast", "MSP-Podcasts of mine", "msp", "not MSP-Podcast"])
def test_another_corpus_is_not_warned_of(name):
    result = contamination([AUDEERING], [name])
    assert result.warnings == result.notes == []


def test_audio_text_and_what_is_not_published_are_told_apart_from_labels():
    used = ["emotion2vec/emotion2vec_base", "FunAudioLLM/SenseVoiceSmall", "openai/whisper-base"]
    result = contamination(used, ["iemocap_sessions", "iemocap"])
    (unknown,), (audio, source) = result.warnings, sorted(result.notes)
    assert "SenseVoiceSmall was trained on emotion labels of corpora that are not named" in unknown
    assert audio.startswith("Checkpoint emotion2vec/emotion2vec_base has seen audio of IEMOCAP without its emotion")
    assert source.endswith("whether iemocap_sessions is among them is not known.")
    student = contamination(["joeddav/distilbert-base-uncased-go-emotions-student"], ["GoEmotions"])
    assert student.warnings == [] and "has seen text of GoEmotions" in student.notes[0]


def test_a_corpus_has_its_name_its_readers_and_those_of_its_parts():
    parts = {"acted": {"reader": "ravdess"}, "own": {"reader": "table"}}
    assert names_of({"reader": "several", "corpora": parts}, "mix") == [
        "mix",
        "acted",
        "own",
        "several",
        "ravdess",
        "table",
    ]
    assert names_of({"root": "."}, "mine") == ["mine"]


def test_the_list_has_its_form_and_names_nothing_twice():
    seen = load()
    known, sources = set(seen["corpora"]), set()
    assert set(seen) == {"corpora", "sources", "checkpoints"} and len(seen["checkpoints"]) >= 60
    for name, entry in seen["checkpoints"].items():
        assert entry and set(entry) <= {"labels", "audio", "text", "undisclosed"}, name
        for kind, facts in entry.items():
            for source, what in facts.items():
                sources.add(source)
                assert what and len({*what}) == len(what), (name, kind)
                assert {*what} <= ({"labels", "audio", "text"} if kind == "undisclosed" else known), (name, what)
    assert sources == set(seen["sources"])
    for source in seen["sources"].values():
        assert set(source) == {"kind", "year", "where"} and source["kind"] in ("paper", "model card")
        assert 2015 <= source["year"] <= 2026 and source["where"]
    last = [name.rsplit("/", 1)[-1].lower() for name in seen["checkpoints"]]
    assert len({*last}) == len(last)
    readers = {spelling.get("reader") for spelling in seen["corpora"].values()} - {None}
    assert (
        readers <= set(READERS) and {"msp_podcast", "iemocap", "meld", "ravdess", "crema_d", "emodb", "tess"} <= readers
    )
    for spelling in seen["corpora"].values():
        assert set(spelling) <= {"reader", "aliases"}
