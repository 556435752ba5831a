"""What `ser start` proposes: the cut, the experts, the checkpoints."""

import json
from itertools import product

import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.start import checkpoints, evidence, splits

EMOTIONS = ("anger", "fear", "sadness")


def frame(speakers, **columns):
    """Return a row for each (speaker, emotion), three times; ``columns`` are functions of speaker and emotion."""
    rows = [(s, e) for s, e in product(speakers, EMOTIONS) for _ in range(3)]
    data = pd.DataFrame(rows, columns=["speaker", "emotion"]).assign(split=None, fold=None, reference_text=None)
    return data.assign(**{name: [make(s, e) for s, e in rows] for name, make in columns.items()})


def proposed(data, labels=EMOTIONS):
    split = splits.propose(data, labels, "table")
    return split.settings["method"], split.settings.get("folds"), split.leak


def test_few_speakers_give_folds_and_many_a_draw():
    assert proposed(frame(range(12))) == ("folds", {"k": 5, "by": "speakers"}, False)
    assert proposed(frame(range(4))) == ("folds", {"k": 4, "by": "speakers"}, False)
    assert proposed(frame(range(40))) == ("speakers", None, False)
    assert proposed(frame(range(2))) == ("folds", {"k": 5, "by": "utterances"}, True)


def test_as_many_folds_as_speakers_say_the_rarest_label():
    data = frame(range(12))
    confounded = data[data["emotion"] == data["speaker"].map(lambda s: EMOTIONS[s % 3])]  # each speaker one label
    assert proposed(confounded) == ("folds", {"k": 4, "by": "speakers"}, False)
    alone = data[(data["emotion"] != "fear") | (data["speaker"] == 3)]
    assert proposed(alone) == ("folds", {"k": 5, "by": "utterances"}, True)
    assert "1 speaker says 'fear'" in splits.propose(alone, EMOTIONS, "table").why


def test_unknown_speakers_are_said_in_every_report():
    data = frame(range(12)).assign(speaker=None)
    split = splits.propose(data, EMOTIONS, "table")
    assert split.settings["folds"] == {"k": 5, "by": "utterances"} and split.leak
    assert split.notice == "Cut by utterances, since speakers are unknown: scores hold for known voices."


def test_a_good_column_is_taken_and_a_bad_one_named():
    parts = ("train", "train", "dev", "test")
    good = frame(range(12), split=lambda s, e: parts[s % 4])
    assert proposed(good) == ("official", None, False)
    no_dev = good.assign(split=good["split"].replace("dev", "train"))
    assert splits.propose(no_dev, EMOTIONS, "table").why.startswith("the split is not used (it has no dev); 5 folds")
    lacking = good[(good["emotion"] != "fear") | (good["split"] != "test")]
    assert "(test has no 'fear')" in splits.propose(lacking, EMOTIONS, "table").why
    crossing = good.assign(speaker=good["speaker"] // 4)
    assert "(3 speakers cross it)" in splits.propose(crossing, EMOTIONS, "table").why


def test_a_column_of_folds_is_taken_where_no_speaker_crosses_and_no_label_lacks():
    data = frame(range(10), fold=lambda s, e: str(s % 5))
    assert proposed(data) == ("folds", {"k": 5, "by": "column", "column": "fold"}, False)
    assert proposed(data.assign(fold=[str(i % 5) for i in range(len(data))]))[1]["by"] == "speakers"
    assert proposed(data[(data["emotion"] != "fear") | (data["fold"] != "1")])[1]["by"] == "speakers"


def test_sentences_that_are_said_with_every_label_are_no_evidence():
    acted = frame(range(4), reference_text=lambda s, e: "Dogs are sitting by the door")
    assert evidence.texts_tell(acted, EMOTIONS)[0] is False
    own = frame(range(4), reference_text=lambda s, e: f"{s} {e}")
    assert evidence.texts_tell(own, EMOTIONS)[0] is True
    assert evidence.texts_tell(frame(range(4)), EMOTIONS) == (False, "none")


def test_normalisation_is_offered_by_how_many_labels_a_speaker_carries():
    data = frame(range(3))
    assert evidence.labels_of_a_speaker(data, EMOTIONS) == 1.0
    one = data[data["emotion"] == data["speaker"].map(lambda s: EMOTIONS[s])]
    assert evidence.labels_of_a_speaker(one, EMOTIONS) == pytest.approx(1 / 3)
    assert evidence.labels_of_a_speaker(data.assign(speaker=None), EMOTIONS) is None


@pytest.mark.parametrize(
    ("hub", "egemaps", "expected"),
    [(True, True, checkpoints.SPEECH), (False, True, checkpoints.EGEMAPS), (False, False, checkpoints.SHIPPED)],
)
def test_the_best_encoder_that_is_at_hand(monkeypatch, hub, egemaps, expected):
    monkeypatch.setattr(checkpoints, "has_egemaps", lambda: egemaps)
    monkeypatch.setattr(checkpoints.shutil, "which", lambda name: None)
    choice = checkpoints.speech(None, lambda name: hub)
    assert choice.checkpoint == expected and ("does not answer" in choice.why) != hub


def folder(tmp_path, kind, **generation):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    if generation:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    return str(tmp_path)


def test_a_given_encoder_is_a_folder_of_audio_or_answers_on_the_hub(tmp_path):
    with pytest.raises(InputError, match="without config.json"):
        checkpoints.speech(str(tmp_path), lambda name: True)
    with pytest.raises(InputError, match="reads text .*--text-encoder"):
        checkpoints.speech(folder(tmp_path, "roberta"), lambda name: True)
    assert checkpoints.speech(folder(tmp_path, "wavlm"), lambda name: False).checkpoint == str(tmp_path)
    with pytest.raises(InputError, match="did not answer for it within 5 s"):
        checkpoints.speech("microsoft/wavlm", lambda name: False)
    with pytest.raises(InputError, match="no folder here and no name on the hub"):
        checkpoints.speech("models/no/such", lambda name: True)


def test_a_whole_whisper_transcribes_the_languages_that_it_knows(tmp_path):
    whisper = folder(tmp_path, "whisper", lang_to_id={"<|pl|>": 1, "<|en|>": 2})

    def silent(name):
        return False

    assert checkpoints.recogniser(None, whisper, "pl", silent)[0] == "whisper"
    assert checkpoints.recogniser(None, whisper, "ur", silent)[0] == "reference"
    assert checkpoints.recogniser(None, whisper, None, silent)[1].checkpoint is None
    with pytest.raises(InputError, match="does not transcribe 'ur', expected one of"):
        checkpoints.recogniser(whisper, None, "ur", silent)


def test_canary_hears_four_languages_and_its_successor_twenty_five(tmp_path):
    archive = tmp_path / "canary-1b.nemo"
    archive.touch()
    assert checkpoints.recogniser(str(archive), None, "de", bool)[0] == "canary"
    with pytest.raises(InputError, match="does not transcribe 'pl'"):
        checkpoints.recogniser(str(archive), None, "pl", bool)
    assert len(checkpoints.CANARY) == 4 and len(checkpoints.CANARY_V2) == 25 and "ur" in checkpoints.WHISPER
