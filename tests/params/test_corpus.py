"""The section ``corpus``: mistakes across keys, and the root."""

import subprocess
import sys
import time
from typing import get_args

import pytest

from pipeline_lib.corpus.collect import READERS
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.corpus import CorpusSettings, Reader, check_root, known_subsets


def parsed(**values):
    return CorpusSettings.parse({"reader": "table", "root": "data", **values}, "corpus")


def test_the_settings_name_exactly_the_readers_that_exist():
    assert set(get_args(Reader)) == set(READERS)
    assert all(hasattr(reader, "CUSTOM") for reader in READERS.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reader": "ravdes"}, "corpus.reader is 'ravdes', expected 'ravdess', 'emodb'"),
        ({"min_duration_s": 0.05}, "corpus.min_duration_s is 0.05: should be greater than or equal to 0.1"),
        ({"max_duration_s": 0.1}, r"max_duration_s 0\.1 is not above min_duration_s 0\.1"),
        (
            {"reader": "ravdess", "split": {"method": "official"}},
            "ravdess has no official split; expected speakers or random",
        ),
        ({"reader": "meld", "split": {"method": "column"}}, "method column belongs to reader table, reader is meld"),
        ({"reader": "meld", "attribute_scale": [1, 5]}, "attribute_scale belongs to reader table; meld has"),
        ({"attribute_scale": [7, 1]}, r"attribute_scale is \[7, 1\], expected the lowest value first"),
        ({"attribute_scale": [1, 2, 3]}, "corpus.attribute_scale"),
        ({"labels": ["anger"]}, "expected at least two emotions"),
        ({"labels": ["anger", "fear", "anger"]}, r"labels names \['anger'\] twice"),
        ({"labels": ["anger", "X"]}, r"names \['X'\]: O \(other\) and X \(no agreement\) are never scored"),
        ({"labels": ["anger", "joy"], "merge": {"joy": "anger"}}, r"labels names \['joy'\], which merge turns into"),
        ({"merge": {"joy": "bliss", "bliss": "awe"}}, r"merge turns \['bliss'\] into something else"),
        ({"split": {"test_speakers": ["a"], "dev_speakers": ["a"]}}, r"both name \['a'\]"),
        ({"split": {"method": "random", "dev_speakers": ["a"]}}, "belong to method speakers, method is random"),
        ({"split": {"shares": {"dev": 0.5, "test": 0.5}}}, "sum to 1, nothing is left for train"),
        ({"split": {"folds": 5}}, r"folds is a section now, .*\{k: 5\} with method: folds"),
        ({"split": {"folds": 0}}, "folds is a section now, .*: remove it"),
        ({"split": {"folds": {"k": 1}}}, "corpus.split.folds.k.* is 1: should be greater than or equal to 2"),
        ({"split": {"folds": {"k": "losso"}}}, "corpus.split.folds.k.* is 'losso', expected 'loso'"),
        ({"split": {"folds": {"k": "loso", "by": "column"}}}, "k is loso, .* and by is column; expected by: speakers"),
        (
            {"reader": "emodb", "split": {"method": "folds", "folds": {"by": "column"}}},
            r"folds.by is column, emodb has none .*\['iemocap', 'table', 'several'\]",
        ),
        (
            {"split": {"folds": {"by": "assignment"}}},
            "by is assignment and assignment names 0 folds",
        ),
        ({"split": {"folds": {"assignment": [["a"], ["b"]]}}}, "by is speakers and assignment names 2 folds; expected"),
        ({"split": {"folds": {"by": "assignment", "assignment": [["a", "b"]]}}}, "names 1 folds; .* two folds or more"),
        ({"split": {"folds": {"by": "assignment", "assignment": [["a", "b"], ["a"]]}}}, r"names \['a'\] twice: keep"),
        ({"split": {"folds": {"by": "assignment", "assignment": [["a"], []]}}}, "corpus.split.folds.assignment"),
        ({"split": {"method": "folds", "test_speakers": ["a"]}}, "belong to method speakers, method is folds"),
        ({"split": {"sed": 1}}, "corpus.split.sed is not a parameter, expected one of .*'seed'"),
        ({"workers": 2}, "corpus.workers has moved to machine.yaml"),
    ],
)
def test_a_mistake_is_refused_with_what_was_wanted(values, message):
    with pytest.raises(ParameterError, match=message):
        parsed(**values)


def test_the_subsets_that_the_corpus_stage_makes_are_listed():
    assert known_subsets(parsed()) == ["train", "dev", "test", "dev_filt", "dev_bal"]
    two = ["fold0", "fold0_dev", "fold0_dev_filt", "fold0_dev_bal", "fold1", "fold1_dev", "fold1_dev_filt"]
    assert known_subsets(parsed(split={"method": "folds", "folds": {"k": 2}})) == ["folds", *two, "fold1_dev_bal"]
    assert known_subsets(parsed(split={"method": "folds", "folds": {"k": "loso"}})) == ["folds"]
    named = {"by": "assignment", "assignment": [["a", "b"], ["c"]]}
    assert known_subsets(parsed(split={"method": "folds", "folds": named})) == ["folds", *two, "fold1_dev_bal"]


def test_a_root_that_is_not_there_is_found_without_reading_it(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.csv").touch()
    expected = {
        "nowhere": "does not exist",
        "file": "is a file, expected the corpus's folder",
        "empty": "is an empty folder",
        "full": r"table\.file is 'corpus\.csv', and .*corpus\.csv does not exist, expected one of \['mine\.csv'\]",
    }
    start = time.perf_counter()
    for name, message in expected.items():
        with pytest.raises(InputError, match=message):
            check_root(parsed(root=str(tmp_path / name)))
    assert time.perf_counter() - start < 0.5
    check_root(parsed(root=str(tmp_path / "full"), table={"file": "mine.csv"}))


def test_a_relative_root_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=rf"'corpora/x' does not exist, expected a folder, from here {tmp_path}/corpora/x \("
    ):
        check_root(parsed(root="corpora/x"))


def test_the_settings_import_neither_pandas_nor_a_decoder():
    code = "import sys, pipeline_lib.params.corpus; print({'pandas', 'soundfile', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
