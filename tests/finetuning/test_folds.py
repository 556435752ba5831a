"""An expert a fold: each is what a hand-made run on the same split trains, killed or not, and sees none of its fold."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline_lib.errors import InputError
from pipeline_lib.experts import folds as saved
from pipeline_lib.experts.predict import predict
from pipeline_lib.experts.utterances import from_manifest
from pipeline_lib.finetuning import finetune
from pipeline_lib.finetuning.folds import joined_curves
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.tables import folds, manifest, predictions, transcripts
from pipeline_lib.tables.provenance import Provenance
from stages.finetuning import main
from tests.finetuning import corpora
from tests.finetuning.runs import BOTH

N_FOLDS = 3
STEPS = (2, 2, 3)  # of each fold
SHORT = {"phases": {"only": {"epochs": 1, "batch_size": 8}}}  # two or three steps
OUTSIDE = ("anger_11", "O_11")


def fold_that_tests(name):
    """Return the fold that tests an utterance: its number modulo the folds, None outside."""
    return None if name in OUTSIDE else int(name.split("_")[1]) % N_FOLDS


def is_development(name, fold):
    """Return whether a fold develops on an utterance: one of the following fold's, in two."""
    return fold_that_tests(name) == (fold + 1) % N_FOLDS and int(name.split("_")[1]) // N_FOLDS % 2 == 0


def with_folds(corpus):
    """Return the corpus as the corpus stage lays down folds."""
    subsets, splits = [], []
    for name in corpus.frame["utterance_id"]:
        mine = fold_that_tests(name)
        splits.append("unlabelled" if mine is None else "folds")
        parts = [f"fold{k}_{part}" for k in range(N_FOLDS) if is_development(name, k) for part in ("dev", "dev_filt")]
        subsets.append([] if mine is None else [f"fold{mine}", *parts])
    return replace(corpus, frame=corpus.frame.assign(split=splits, subsets=pd.Series(subsets, dtype=object)))


def by_hand(corpus, fold):
    """Return the corpus with the splits of one fold written out."""
    splits = []
    for name in corpus.frame["utterance_id"]:
        inside = "test" if fold_that_tests(name) == fold else "dev" if is_development(name, fold) else "train"
        splits.append("unlabelled" if fold_that_tests(name) is None else inside)
    empty = pd.Series([[] for _ in splits], dtype=object)
    return replace(corpus, frame=corpus.frame.assign(split=splits, subsets=empty))


@contextmanager
def named_as_fold(corpus, fold):
    """Let the record of labels name hand-made splits as the fold that they are."""
    names = folds.view(corpus, fold).names_in_corpus
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest.Manifest, "own_names", lambda _, part: names[part])
        yield


def stage(folder, tones, corpus, entry, **changes):
    """Run the stage in a folder on a corpus and return the bytes of what it wrote, by path."""
    folder.mkdir(exist_ok=True)
    settings = {"corpus": {"root": str(tones.root)}, "finetuning": {"tones": entry.model_dump() | changes}}
    YAML().dump(settings, folder / "params.yaml")
    (folder / "machine.yaml").write_text("device: cpu\nfinetuning: {save_steps: 1}\n")
    manifest.write(folder / "manifest.parquet", corpus)
    paths = {"models": "models", "out": "predictions", "curves": "curves", "work": "work"}
    main(
        "tones",
        folder / "params.yaml",
        folder / "machine.yaml",
        folder / "manifest.parquet",
        folder / "transcripts.parquet",
        **{name: folder / path for name, path in paths.items()},
    )
    written = ("models", "predictions", "predictions_folds", "predictions_alone", "curves")
    files = [path for name in written for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def entry(tones):
    """Return an entry that trains in two or three steps."""
    return corpora.settings(tones.w2v_bert, "audio", **SHORT, **BOTH)


@pytest.fixture(scope="module")
def folded(tones, entry, tmp_path_factory):
    """Return the folder of an expert with folds, and the bytes of what its stage wrote."""
    folder = tmp_path_factory.mktemp("folds")
    return folder, stage(folder, tones, with_folds(tones.corpus), entry, folds=True)


@pytest.fixture(scope="module")
def hand_made(tones, entry, tmp_path_factory):
    """Return the bytes of one run a fold, whose splits are written out by hand."""
    written = []
    for fold in range(N_FOLDS):
        with named_as_fold(with_folds(tones.corpus), fold):
            written.append(stage(tmp_path_factory.mktemp("hand"), tones, by_hand(tones.corpus, fold), entry))
    return written


def test_the_folds_of_one_entry_equal_hand_made_runs_to_the_byte(folded, hand_made):
    _, files = folded
    for fold, alone in enumerate(hand_made):
        expert = {path.removeprefix("models/tones/"): alone[path] for path in alone if path.startswith("models/")}
        mine = f"models/tones/fold{fold}/"
        assert {path.removeprefix(mine): files[path] for path in files if path.startswith(mine)} == expert
        assert "adapter.safetensors" in expert
        assert files[f"predictions_folds/tones/fold{fold}.parquet"] == alone["predictions/tones.parquet"]
    assert len({alone["models/tones/adapter.safetensors"] for alone in hand_made}) == N_FOLDS
    header, *rows = files["curves/tones.csv"].decode().splitlines()
    curves = [alone["curves/tones.csv"].decode().splitlines() for alone in hand_made]
    assert header == f"fold,{curves[0][0]}"
    assert rows == [f"fold{fold},{row}" for fold, (_, *lines) in enumerate(curves) for row in lines]
    assert {alone["predictions_folds/tones/none.txt"] for alone in hand_made} == {
        b"no folds: the expert is trained on the split train\n"
    }
    others = {path for path in files if "/fold" not in path} | {"models/tones/folds.json"}
    tables = {"predictions/tones.parquet", "predictions_alone/tones/none.txt"}
    assert others == {"models/tones/folds.json", "curves/tones.csv", *tables}


def test_the_table_is_out_of_fold(tones, folded):
    folder, _ = folded
    result = predictions.read(folder / "predictions/tones.parquet")
    tables = [predictions.read(folder / f"predictions_folds/tones/fold{fold}.parquet") for fold in range(N_FOLDS)]
    assert result.utterance_ids.tolist() == tones.corpus.ids.tolist()
    assert result.embedding is None and tables[0].embedding is not None
    assert tables[0].provenance == Provenance(("fold1", "fold2"), ("fold0_dev",))
    assert result.provenance == Provenance(out_of_fold=True)
    assert (result.device, result.precision) == ("cpu", "float32")
    for row, name in enumerate(result.utterance_ids):
        fold = fold_that_tests(name)
        models = range(N_FOLDS) if fold is None else [fold]
        for key in ("posterior", "attributes"):
            expected = sum(getattr(tables[k], key)[row] for k in models) / len(models)
            np.testing.assert_allclose(getattr(result, key)[row], expected, rtol=0, atol=1e-12)


def test_a_saved_expert_with_folds_predicts_the_mean(tones, folded):
    folder, _ = folded
    utterances = from_manifest(tones.corpus, tones.root, ("audio",))
    result = predict(folder / "models" / "tones", utterances, batch_size=5, machine=corpora.machine())
    tables = [predictions.read(folder / f"predictions_folds/tones/fold{fold}.parquet") for fold in range(N_FOLDS)]
    assert (result.expert, result.embedding, result.labels) == ("tones", None, tables[0].labels)
    for key in ("posterior", "attributes", "training_prior"):
        expected = sum(getattr(table, key) for table in tables) / N_FOLDS
        np.testing.assert_allclose(getattr(result, key), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("when", ["train", pytest.param("predict", marks=pytest.mark.acceptance)])
def test_a_run_killed_in_the_second_fold_goes_on_to_the_same_bytes(tones, entry, folded, tmp_path, monkeypatch, when):
    steps, step, predicting = [], Steps._step, finetune._predictions

    def killed_in_training(self, state, *rest):
        if when == "train" and self.context.fold[0] == 1 and state.total == 1:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    def killed_in_predicting(context, *rest):
        if when == "predict" and context.fold[0] == 1:
            raise KeyboardInterrupt
        return predicting(context, *rest)

    monkeypatch.setattr(Steps, "_step", killed_in_training)
    monkeypatch.setattr(finetune, "_predictions", killed_in_predicting)
    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "run", tones, with_folds(tones.corpus), entry, folds=True)

    def noted(self, state, *rest):
        steps.append((self.context.fold[0], state.total))
        return step(self, state, *rest)

    monkeypatch.setattr(finetune, "_predictions", predicting)
    monkeypatch.setattr(Steps, "_step", noted)
    assert stage(tmp_path / "run", tones, with_folds(tones.corpus), entry, folds=True) == folded[1]
    # what was trained is not trained again
    rest = range(1, STEPS[1]) if when == "train" else ()
    assert steps == [*((1, total) for total in rest), *((2, total) for total in range(STEPS[2]))]
    left = [path.name for path in (tmp_path / "run" / "work").rglob("*") if path.is_file()]
    assert not any(name.endswith((".safetensors", ".parquet", "finished.json")) for name in left)


def test_only_a_damaged_fold_is_trained_again(tones, entry, folded, tmp_path, monkeypatch, capsys):
    def killed(*rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(saved, "save", killed)
        stage(tmp_path / "run", tones, with_folds(tones.corpus), entry, folds=True)
    (head,) = (tmp_path / "run" / "work" / "tones" / "fold1").glob("*/outputs/expert/head.safetensors")
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    capsys.readouterr()
    assert stage(tmp_path / "run", tones, with_folds(tones.corpus), entry, folds=True) == folded[1]
    console = capsys.readouterr()
    assert "outputs is damaged" in console.err
    assert console.out.count("finished by an earlier run") == N_FOLDS - 1


def test_labels_of_a_test_fold_do_not_change_its_expert(tones, entry, folded, tmp_path):
    corpus = with_folds(tones.corpus)
    frame, rng = corpus.frame.copy(), np.random.default_rng(5)
    mine = np.flatnonzero([fold_that_tests(name) == 1 for name in frame["utterance_id"]])
    for column in ("emotion", "arousal", "valence"):
        frame[column] = frame[column].to_numpy(copy=True)
        frame.loc[mine, column] = rng.permutation(frame[column].to_numpy()[mine])
    changed = stage(tmp_path / "run", tones, replace(corpus, frame=frame), entry, folds=True)
    weights = [f"models/tones/fold{fold}/adapter.safetensors" for fold in range(N_FOLDS)]
    assert [changed[path] == folded[1][path] for path in weights] == [False, True, False]
    expert = [path for path in changed if path.startswith("models/tones/fold1/")]
    assert len(expert) == 3 and all(changed[path] == folded[1][path] for path in expert)
    table = "predictions_folds/tones/fold1.parquet"
    assert changed[table] == folded[1][table]


def test_a_corpus_and_an_entry_that_disagree_on_folds_are_refused(tones, entry, tmp_path):
    with pytest.raises(InputError, match="finetuning.tones.folds is true, but the manifest has no folds"):
        stage(tmp_path / "a", tones, tones.corpus, entry, folds=True)
    with pytest.raises(InputError, match="tones has folds and finetuning.tones.folds is false: set it to true"):
        stage(tmp_path / "b", tones, with_folds(tones.corpus), entry)


def test_every_fold_is_checked_before_the_first_is_trained(tones, entry, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "finetune", lambda *rest, **options: pytest.fail("a fold was trained"))
    corpus = with_folds(tones.corpus)
    frame = corpus.frame.copy()
    rows = frame["utterance_id"].str.startswith("O_") & ~frame["utterance_id"].isin(["O_02", "O_05"])
    frame.loc[rows, "emotion"] = "anger"  # O is left in fold2 alone
    with pytest.raises(InputError, match=r"fold2 has training examples of .*'sadness'\], fold0 of .*'O'\]"):
        stage(tmp_path / "a", tones, replace(corpus, frame=frame), entry, folds=True)
    frame = corpus.frame.copy()
    elsewhere = np.array([fold_that_tests(name) != 1 for name in frame["utterance_id"]])
    rows = frame["emotion"].eq("sadness") & elsewhere
    frame.loc[rows, "emotion"] = "anger"
    with pytest.raises(InputError, match=r"fold1, trained on the other folds: .* no training example of \['sadness'\]"):
        stage(tmp_path / "b", tones, replace(corpus, frame=frame), entry, folds=True)


def test_curves_of_different_columns_are_joined():
    joined = joined_curves({"fold0": "epoch,dev_ua\n1,0.5\n", "fold1": "epoch,dev_loss\n1,0.3\n2,0.2\n"})
    assert joined.splitlines() == [
        "fold,epoch,dev_ua,dev_loss",
        "fold0,1,0.5,nan",
        "fold1,1,nan,0.3",
        "fold1,2,nan,0.2",
    ]


@pytest.mark.acceptance
def test_predictions_of_a_joint_expert_from_one_modality_are_out_of_fold(tones, tmp_path):
    corpus, joint = with_folds(tones.corpus), corpora.joint(tones, **SHORT)
    metadata = {"engine": "none", "checkpoint": "", "decoding": {}}
    for name in ("folds", *(f"hand{fold}" for fold in range(N_FOLDS))):
        transcripts.write(tmp_path / name / "transcripts.parquet", corpus.ids, tones.texts, **metadata)
    stage(tmp_path / "folds", tones, corpus, joint, folds=True)
    for fold in range(N_FOLDS):
        stage(tmp_path / f"hand{fold}", tones, by_hand(tones.corpus, fold), joint)
    for modality in ("audio", "text"):
        path = f"predictions_alone/tones/{modality}.parquet"
        made = predictions.read(tmp_path / "folds" / path)
        alone = [predictions.read(tmp_path / f"hand{fold}" / path) for fold in range(N_FOLDS)]
        for row, name in enumerate(made.utterance_ids):
            fold = fold_that_tests(name)
            models = range(N_FOLDS) if fold is None else [fold]
            expected = sum(alone[k].posterior[row] for k in models) / len(models)
            np.testing.assert_allclose(made.posterior[row], expected, rtol=0, atol=1e-12)
