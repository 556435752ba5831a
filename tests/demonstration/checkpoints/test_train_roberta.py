"""Training of the small RoBERTa: which tokens are predicted and how they are masked; reproducible weights."""

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
from pipeline_lib.demonstration.checkpoints import train_llama
from pipeline_lib.demonstration.checkpoints.train_roberta import VOCABULARY, build_tokenizer, main, mask

MASK = VOCABULARY - 1


@pytest.fixture(scope="module")
def masked():
    ids = torch.full((400, 250), 77)
    ids[:, 0], ids[:, -2], ids[:, -1] = 0, 2, 1  # <s>, </s>, <pad>
    return ids, *mask(ids, VOCABULARY, np.random.default_rng(3))


def test_15_percent_are_predicted_80_masked_10_replaced_10_unchanged(masked):
    ids, seen, targets = masked
    predicted = targets != -100
    assert predicted[:, 1:-2].double().mean().item() == pytest.approx(0.15, abs=0.005)  # 98,800 tokens: 4 sd are 0.0045
    assert (targets[predicted] == ids[predicted]).all()
    shares = [(seen[predicted] == MASK), (seen[predicted] == 77), (seen[predicted] != MASK) & (seen[predicted] != 77)]
    assert [share.double().mean().item() for share in shares] == pytest.approx([0.8, 0.1, 0.1], abs=0.014)


def test_other_tokens_stay_and_special_tokens_are_neither_predicted_nor_put_in(masked):
    ids, seen, targets = masked
    assert (seen == ids)[targets == -100].all()
    assert (targets[:, [0, -2, -1]] == -100).all()
    replaced = seen[(seen != ids) & (seen != MASK)]
    assert replaced.min() >= 4
    assert replaced.max() < MASK


def test_special_tokens_stand_where_roberta_has_them():
    tokenizer = build_tokenizer(["my sister moved the piano on monday"] * 3)
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == len(tokenizer) - 1
    assert tokenizer("piano")["input_ids"][0] == 0
    assert tokenizer("piano")["input_ids"][-1] == 2
    assert tokenizer.decode(tokenizer("my sister")["input_ids"], skip_special_tokens=True).strip() == "my sister"


def test_two_runs_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(train_llama, "BATCH", 4)
    for name in ("a", "b"):
        main(tmp_path / name, texts=60, steps=2)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
