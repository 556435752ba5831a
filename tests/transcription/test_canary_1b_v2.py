"""Canary in the layout of canary-1b-v2, small and with random weights: one tokenizer for all languages."""

import numpy as np
import pytest

from pipeline_lib.demonstration.checkpoints.canary_config import model_config
from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import CanarySettings
from tests.transcription.archives import repacked

WORDS = ["the", "red", "tree", "river", "you", "they", "walk", "sing", "never", "always", "today", "because", "people"]


@pytest.fixture(scope="module")
def one_bpe(tmp_path_factory):
    """Save Canaries in the layout of canary-1b-v2: one BPE tokenizer, a second model; the other lacks a token."""
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model
    from omegaconf import OmegaConf

    folder = tmp_path_factory.mktemp("one_bpe")
    (folder / "text.txt").write_text("\n".join(WORDS * 30))
    symbols = ["startofcontext", "startoftranscript", "endoftext", "nospeech", "emo:undefined", "noitn", "notimestamp"]
    symbols += ["nodiarize", "pnc", "nopnc", "en", "de", "et", "30", "itn"]
    for name, left_out in (("v2", ""), ("lacking", "noitn")):
        tokens = ["<pad>", *(f"<|{symbol}|>" for symbol in symbols if symbol != left_out)]
        place = folder / name
        create_spt_model(
            str(folder / "text.txt"), 80, -1, True, tokenizer_type="bpe", output_dir=str(place),
            user_defined_symbols=tokens,
        )  # fmt: skip
        custom = {"_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryBPETokenizer"}
        config = model_config("", "") | {"restore_timestamps_model": False, "prompt_format": "canary2"}
        config |= {"tokenizer": {"dir": str(place), "type": "bpe", "custom_tokenizer": custom}, "prompt_defaults": None}
        EncDecMultiTaskModel(cfg=OmegaConf.create(config)).save_to(str(folder / "plain.nemo"))
        repacked(
            folder / "plain.nemo", folder / f"{name}.nemo",
            {"model_config.yaml": lambda text: text.replace(b"restore_timestamps_model: false", b"")},
            [("timestamps_asr_model_config.yaml", b"no model"), ("timestamps_asr_model_weights.ckpt", b"no weights")],
        )  # fmt: skip
    return folder


def refused(**settings):
    from pipeline_lib.transcription.canary import Canary

    with pytest.raises(InputError) as error:
        Canary(CanarySettings(**settings), "cpu")
    return str(error.value)


def test_one_tokenizer_for_all_languages_names_them_in_the_prompt(one_bpe):
    from pipeline_lib.transcription.canary import Canary

    engine = Canary(CanarySettings(checkpoint=str(one_bpe / "v2.nemo"), source_language="et"), "cpu")
    tokens = [token for token in engine.model.tokenizer.ids_to_tokens(engine.prompt[0].tolist()) if token != "▁"]
    names = ["startofcontext", "startoftranscript", "emo:undefined", "et", "et", "nopnc", "noitn", "notimestamp"]
    assert tokens == [f"<|{name}|>" for name in [*names, "nodiarize"]]
    assert engine.model.timestamps_asr_model is None  # what stands in its place in the archive cannot be restored
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype("f4")
    assert len(engine.transcribe([noise[:16_000], noise])) == 2


@pytest.mark.parametrize("language", ["lv", "xx", "30", "EN", "pnc", "pnc|><|en"])
def test_one_tokenizer_without_the_language_is_refused(one_bpe, language):
    message = refused(checkpoint=str(one_bpe / "v2.nemo"), source_language=language)
    assert f"source_language is {language!r}" in message and "expected one of ['de', 'en', 'et']" in message


def test_a_prompt_with_an_unknown_token_is_refused(one_bpe):
    message = refused(checkpoint=str(one_bpe / "lacking.nemo"))
    assert "has no token for a part of the prompt" in message and "<unk>" in message
