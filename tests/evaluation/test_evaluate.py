"""``ser evaluate`` of a small system, on the corpus it was trained on under other names, and on wrong ones."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.evaluation.corpus import section
from pipeline_lib.evaluation.evaluate import evaluate
from pipeline_lib.tables import manifest, predictions
from tests.finetuning.test_folds import with_folds
from tests.inference import made
from tests.inference.test_system import spoken

PAIRS = "rage=anger,joy=happiness"


@pytest.fixture(scope="module")
def project(tones, tmp_path_factory):
    corpus = spoken(with_folds(tones.corpus))
    return made.project(tmp_path_factory.mktemp("evaluated") / "project", tones, corpus, folded=True, trained=False)


@pytest.fixture(scope="module")
def other(project, tones, tmp_path_factory):
    """Return a table of the same recordings, named otherwise, with another emotion."""
    folder, frame = tmp_path_factory.mktemp("other"), manifest.read(project / "data/manifest.parquet").frame
    for name in frame["audio"]:
        shutil.copyfile(tones.root / name, folder / name)
    emotions = frame["emotion"].map({"anger": "rage", "happiness": "joy", "sadness": "sadness", "O": "surprise"})
    values = {"audio": frame["audio"], "emotion": emotions, "speaker": frame["speaker"]}
    pd.DataFrame(values | {"reference_text": frame["reference_text"]}).to_csv(folder / "corpus.csv", index=False)
    return folder


def test_the_scores_are_those_of_the_mean_of_the_members(project, other, tmp_path, capsys):
    before = {path: path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()}
    evaluate(other, project=project, reader="table", names=PAIRS, name="again", out=tmp_path / "out")
    assert {path: path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()} == before
    printed = capsys.readouterr()
    assert "joy counts as happiness; rage counts as anger; without a counterpart" in printed.out
    assert "surprise 12." in printed.out and "texts normalise by speaker" in printed.err
    result = json.loads((tmp_path / "out/again.json").read_text())
    assert result["labels"] == ["anger", "happiness", "sadness"] and result["left_out"] == {"surprise": 12}
    own, frozen = manifest.read(project / "data/manifest.parquet"), result["systems"]["frozen"]
    members = [predictions.read(project / f"data/rebalanced_folds/frozen/fold{fold}.parquet") for fold in range(3)]
    chosen = np.mean([table.posterior for table in members], axis=0).argmax(axis=1)
    hits, truth = np.array(members[0].labels)[chosen] == own.frame["emotion"], own.frame["emotion"].to_numpy()
    recalls = [hits[truth == label].mean() for label in result["labels"]]
    assert frozen["restricted"]["ua"] == pytest.approx(np.mean(recalls), abs=1e-12) and frozen["n"] == 36
    assert frozen["restricted"]["ua"] == frozen["all_labels"]["ua"]  # all labels are in common
    assert result["own"]["split"] == "folds" and result["own"]["systems"]["fused"]["n"] == 35  # one is in no fold
    page = (tmp_path / "out/again.md").read_text()
    assert "# table on table" in page and "On its own corpus, tones, split folds (out of fold)" in page
    assert f"| frozen | 36 | 6 | {np.mean(recalls):.3f} [" in page


def test_what_cannot_be_evaluated_is_refused_by_name(project, other, tmp_path):
    with pytest.raises(InputError, match=r"--map names 'rag' \(did you mean 'rage'\?\)"):
        evaluate(other, project=project, reader="table", names="rag=anger", out=tmp_path)
    with pytest.raises(InputError, match="has no split or subset 'dev', it has"):
        evaluate(other, project=project, reader="table", names=PAIRS, split="dev", out=tmp_path)
    with pytest.raises(InputError, match="--name is 'a/b', expected letters, digits"):
        evaluate(other, project=project, reader="table", names=PAIRS, name="a/b", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_corpus_is_a_folder_a_table_or_anothers_parameters(other, tmp_path):
    assert section(other, "table", None).root == str(other)
    by_table = section(other / "corpus.csv", "table", None)
    assert (by_table.root, by_table.table.file) == (str(other), "corpus.csv")
    (tmp_path / "params.yaml").write_text("corpus: {reader: nemo, root: nemo, name: polish}\n")
    named = section(tmp_path / "params.yaml", None, None)
    assert (named.reader, named.root, named.name) == ("nemo", str(tmp_path / "nemo"), "polish")
    recognised = section(other, None, None)
    assert (recognised.reader, recognised.root) == ("table", str(other.resolve()))
    with pytest.raises(InputError, match="does not exist, expected the folder or the table of a corpus"):
        section(tmp_path / "absent", "nemo", None)
    with pytest.raises(InputError, match="does not lie below --root"):
        section(other / "corpus.csv", "table", tmp_path)
    with pytest.raises(InputError, match="corpus.reader is 'nemmo', expected"):
        section(other, "nemmo", None)
