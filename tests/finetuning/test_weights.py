"""Experts whose encoder is held in 4 bit or bfloat16, trained end to end."""

import numpy as np
import pytest
import torch

from pipeline_lib.experts import disk
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.embedding import EmbeddingSettings
from tests.finetuning import corpora

QLORA = {
    "encoder": {"weights": "nf4"},
    "adaptation": {"lora": {"r": 16, "lora_alpha": 16.0, "lora_dropout": 0.05, "target_modules": "all-linear"}},
    "head": {"kind": "sequence_classification"},
    "phases": {"only": {"epochs": 12}},
}


def run(tones, folder, settings):
    """Train an expert and return its predictions."""
    texts = tones.texts if settings.modality == "text" else None
    paths = {"expert": folder / "models", "curve": folder / "curve.csv", "work": folder / "work"}
    result, _ = finetune("tones", settings, tones.corpus, tones.root, texts, **paths, machine=corpora.machine())
    return result


def test_qlora_learns_words_and_what_is_saved_predicts_to_the_bit_what_it_did(tones, tmp_path, capsys):
    result = run(tones, tmp_path, corpora.settings(tones.llama_wide, "text", **QLORA))
    truth, rows = tones.corpus.truth(), tones.corpus.mask("test") & (tones.corpus.truth() >= 0)
    assert (result.posterior[rows, :3].argmax(axis=1) == truth[rows]).all()
    console = capsys.readouterr()
    # all 7 linear layers of a block, rank 16: four attention layers 128 x 128 or 128 x 64, three of 128 x 192
    lora = 3 * 16 * (2 * 256 + 2 * 192 + 3 * 320)
    held = 3 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 192) + 20 * 128 + 7 * 128
    assert f"{lora + 128 * 4:>14,} {held + lora + 128 * 4:>14,}" in console.out.splitlines()[-1]
    assert "LoRA stays beside the encoder's weights" in console.err
    network = disk.load(tmp_path / "models", torch.device("cpu"))
    alone = [network(network.encoder.prepare([(text,)]))["logits"] for text in tones.texts[:1]]
    with torch.inference_mode():
        table = network(network.encoder.prepare([(tones.texts[0],)] * 5))["logits"]
    np.testing.assert_allclose(result.posterior[0], table.double().softmax(dim=1)[0].numpy(), rtol=0, atol=1e-12)
    assert (alone[0] - table[0]).abs().max() < 0.05  # bfloat16 products round differently by the batch's shape


def test_gradient_checkpointing_under_four_bit_changes_nothing_but_the_memory(tones, tmp_path):
    short = {**QLORA, "phases": {"only": {"epochs": 1}}}
    plain = run(tones, tmp_path / "plain", corpora.settings(tones.llama_wide, "text", **short))
    changes = {**short, "gradient_checkpointing": True}
    sparing = run(tones, tmp_path / "sparing", corpora.settings(tones.llama_wide, "text", **changes))
    np.testing.assert_allclose(plain.posterior, sparing.posterior, atol=1e-4)


def test_an_audio_expert_trains_beside_bfloat16_weights_as_it_does_beside_float32(tones, tmp_path):
    exact, sparing = (
        run(tones, tmp_path / held, corpora.settings(tones.w2v_bert, "audio", encoder={"weights": held}))
        for held in ("float32", "bfloat16")
    )
    assert 0 < np.abs(exact.posterior - sparing.posterior).max() < 0.1


@pytest.mark.parametrize("held", ["bfloat16", "nf4"])
def test_training_all_weights_asks_for_float32(tones, held):
    with pytest.raises(ParameterError, match=f"encoder.weights is '{held}' and adaptation.method 'full'; expected"):
        corpora.settings(tones.llama, "text", encoder={"weights": held}, adaptation={"method": "full"})


def test_speech_in_four_bit_is_refused_by_name(tones):
    with pytest.raises(ParameterError, match="encoder.weights is 'nf4', which is for text"):
        corpora.settings(tones.w2v_bert, "audio", encoder={"weights": "nf4"})
    with pytest.raises(ParameterError, match="encoder.weights is 'nf4', which is for text"):
        EmbeddingSettings.parse({"modality": "audio", "encoder": {"checkpoint": "a", "weights": "nf4"}}, "embedding.a")
