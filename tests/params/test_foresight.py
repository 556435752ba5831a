"""What a later stage would refuse is told by the first, all of it in one list."""

import time
from pathlib import Path

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check
from pipeline_lib.params.corpus import CorpusSettings, check_root
from tests.recipes.laid_down import YAML12, text

ROOT = Path.cwd()
DRAW = "corpus.split.method: random with corpus.allow_speaker_leak: true"
SPLITS = ["train", "dev", "test", "unlabelled", "dev_filt", "dev_bal", "folds"]
KNOWN = f"expected one of {SPLITS} or test2, fold0 ..."


@pytest.fixture
def values(tmp_path, monkeypatch):
    """Return the default's parameters on a corpus of one's own with recordings alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    values = YAML12.load(text("default"))
    values["corpus"] |= {"root": "mine", "name": None, "notice": ""}
    values["demonstration"] = {}
    write(["audio,emotion", "a.wav,anger"])
    return values


def write(lines):
    Path("mine").mkdir(exist_ok=True)
    Path("mine/corpus.csv").write_text("\n".join(lines) + "\n")


def mistakes(values):
    path = Path("params.yaml")
    YAML12.dump(values, path)
    try:
        check(path)
    except ParameterError as error:
        return [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
    return []


def test_all_that_a_table_of_recordings_lacks_is_in_one_list_within_two_seconds(values):
    values["transcription"] |= {"engine": "reference", "reads": {"checkpoint": "data/manifest.parquet"}}
    values["finetuning"]["text"] |= {"text": "reference"}
    values["finetuning"]["text"]["reads"]["transcripts"] = "data/manifest.parquet"
    values["fusion"]["tuning"] = "dev_ball"
    start = time.perf_counter()
    lines = mistakes(values)
    assert time.perf_counter() - start < 2
    assert f"or give a column 'split', or {DRAW}; expected it among ['audio', 'emotion'] (a column" in lines[1]
    table = "mine/corpus.csv has no column"
    readers = "finetuning.text with text: reference, transcription with engine: reference"
    assert [line.partition(";" if "column" in line else "; write")[0] for line in lines] == [
        f"{table} 'reference_text', which is read by {readers}",
        f"{table} 'speaker', which the draw by speaker needs",
        *(
            f"{table} {attribute!r}, which is trained by finetuning.{name}.targets.attributes"
            for name in ("audio", "text")
            for attribute in ("arousal", "valence", "dominance")
        ),
        f"fusion.tuning names 'dev_ball', which is no split and no subset, {KNOWN} (did you mean 'dev_bal'?)",
    ]


FULL = "audio,emotion,arousal,valence,dominance,speaker,split,subsets"


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("corpus", {"split": {"method": "column", "column": "part"}}, "'part', which corpus.split.method column reads"),
        ("scoring", {"splits": ["dev", "tets"], "plotted_split": "dev"}, "'tets', which is no split and no subset"),
        ("scoring", {"splits": ["dev", "quiet"], "plotted_split": "dev"}, None),
        ("scoring", {"splits": ["dev", "test2", "fold3"], "plotted_split": "dev"}, None),
    ],
)
def test_splits_are_those_of_every_corpus_and_the_tables_own_subsets(values, section, change, message):
    write([FULL, "a.wav,anger,1,2,3,anna,train,quiet;near"])
    values[section] |= change
    lines = mistakes(values)
    assert (len(lines) == 1 and message in lines[0]) if message else not lines


def test_layers_epochs_and_rates_beyond_any_use_are_refused_together(values):
    write([FULL, "a.wav,anger,1,2,3,anna,train,"])
    values["embedding"]["audio"]["layers"] = [0, 9]
    values["rebalancing"]["text_layers"]["source"]["layers"] = [7]
    values["finetuning"]["audio"]["early_stopping"]["every"] = 9
    values["finetuning"]["text"]["phases"]["main"]["learning_rate"] = 10.0
    assert [line.partition(" (")[0] for line in mistakes(values)] == [
        "embedding.audio.layers is [0, 9], and its encoder has layers 0 to 4",
        "rebalancing.text_layers.source.layers is [7], and the encoder of data/embeddings/text has layers 0 to 3",
        "finetuning.audio.early_stopping.every is 9, and its phases have 8 epochs in all; expected at most 8",
        "finetuning.text.phases.main.learning_rate is 10, expected between 1e-08 and 0.1",
    ]


def test_previous_turns_need_a_corpus_with_dialogues(values):
    write([FULL.replace("subsets", "dialog"), "a.wav,anger,1,2,3,anna,train,d"])
    values["finetuning"]["text"]["context"] = 3
    values["embedding"]["text"]["context"] = 1
    readers = "embedding.text.context, finetuning.text.context"
    header = FULL.replace("subsets", "dialog").split(",")
    advices = {
        "dialogue": "(misspelt as 'dialog'?); rename it to 'dialogue'",
        "turn": "(a column of another name?); rename the one that holds it to 'turn', or change what reads it",
    }
    assert mistakes(values) == [
        f"mine/corpus.csv has no column {name!r}, which is read by {readers}; expected it among {header} {advice}"
        for name, advice in advices.items()
    ]
    values["corpus"] |= {"reader": "ravdess", "attribute_scale": None}
    expected = [
        f"{entry}.text.context is {turns}, and the corpora of reader ravdess have no dialogues; expected 0, or one of"
        " the readers ['iemocap', 'meld', 'table']"
        for entry, turns in (("embedding", 1), ("finetuning", 3))
    ]
    assert mistakes(values) == expected
    values["corpus"] |= {"reader": "several", "corpora": {"acted": {"reader": "ravdess"}, "told": {"reader": "nemo"}}}
    both = [line.replace("ravdess", "nemo and ravdess") for line in expected]
    assert [line for line in mistakes(values) if ".context is" in line] == both
    values["corpus"]["corpora"]["told"]["reader"] = "meld"  # the utterances of the other have no previous turns
    assert [line for line in mistakes(values) if ".context is" in line] == []


def test_a_relative_root_in_a_copy_of_dvc_exp_run_is_refused_by_its_reason(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    for folder, is_copy in ((tmp_path, False), (copy, True)):
        monkeypatch.chdir(folder)
        with pytest.raises(InputError, match="does not exist") as error:
            check_root(CorpusSettings(reader="table", root="mine"))
        assert str(error.value).endswith("works in a copy of the files that git tracks alone") == is_copy


@pytest.mark.parametrize(
    ("section", "change", "where"),
    [
        ("fusion", {"tuning": "test"}, "fusion.tuning is 'test', a test split; expected development data"),
        ("fusion", {"tuning": "test2"}, "fusion.tuning is 'test2', a test split; expected development data"),
        ("fusion", {"tuning": "test", "allow_test_tuning": True}, None),
        ("scoring", {"chosen_on": "test"}, "scoring.comparison.chosen_on is 'test', a test split"),
        ("scoring", {"chosen_on": "test", "allow_test_tuning": True}, None),
    ],
)
def test_nothing_is_tuned_on_a_test_split(values, section, change, where):
    settings = values["scoring"]["comparison"] if section == "scoring" else values["fusion"]
    settings.update(change)
    lines = [line for line in mistakes(values) if "a test split" in line]
    assert lines == [] if where is None else lines[0].startswith(where)
