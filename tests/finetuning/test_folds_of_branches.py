"""A joint expert on the encoder of an expert with folds: each fold takes the encoder that was trained in it."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import folds as by_fold
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.tables import folds, predictions
from tests.finetuning import corpora
from tests.finetuning.runs import BOTH
from tests.finetuning.test_folds import N_FOLDS, SHORT, by_hand, named_as_fold, with_folds


def paths(folder, name):
    """Return where a training in the folder writes."""
    return {
        "expert": folder / "models" / name,
        "curve": folder / f"{name}.csv",
        "work": folder / "work",
        "alone": folder / "alone" / name,
        "machine": corpora.machine(),
    }


def test_each_fold_takes_its_own_encoder_and_what_one_modality_predicts_is_out_of_fold(tones, tmp_path):
    corpus = replace(tones.corpus, frame=tones.corpus.frame.assign(reference_text=list(tones.texts)))
    folded = with_folds(corpus)
    entry = corpora.settings(tones.w2v_bert, "audio", **SHORT, **BOTH)
    tables = {name: tmp_path / "folds" / name for name in ("tuned", "joint")}
    by_fold.finetune("tuned", entry, folded, tones.root, None, tables=tables["tuned"], **paths(tmp_path, "tuned"))

    def joint(expert):
        branch = {"encoder": None, "expert": str(expert), "adaptation": {"method": "frozen"}}
        return corpora.joint(tones, branches={"audio": branch}, text="reference", **SHORT)

    settings, tuned = joint(tmp_path / "models" / "tuned"), tmp_path / "models" / "tuned"
    by_fold.finetune("joint", settings, folded, tones.root, None, tables=tables["joint"], **paths(tmp_path, "joint"))
    alone = []
    for fold in range(N_FOLDS):
        hand = tmp_path / f"hand{fold}"
        with named_as_fold(folded, fold):
            done = finetune(
                "joint", joint(tuned / f"fold{fold}"), by_hand(corpus, fold), tones.root, None, **paths(hand, "joint")
            )
        assert done is not None
        predictions.write(hand / "joint.parquet", done[0])
        assert (tables["joint"] / f"fold{fold}.parquet").read_bytes() == (hand / "joint.parquet").read_bytes()
        alone.append(predictions.read(hand / "alone" / "joint" / "audio.parquet"))
    result = predictions.read(tmp_path / "alone" / "joint" / "audio.parquet")
    of = folds.fold_of(folded)
    for row, fold in enumerate(of):
        members = range(N_FOLDS) if fold < 0 else [fold]
        expected = sum(alone[k].posterior[row] for k in members) / len(members)
        np.testing.assert_allclose(result.posterior[row], expected, rtol=0, atol=1e-7)
    with pytest.raises(InputError, match=f"has {N_FOLDS} folds, the corpus has 2"):
        by_fold._of_fold(settings, "joint", 0, 2)
