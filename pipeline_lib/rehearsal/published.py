"""Published checkpoints without their weights: configuration, preprocessor and a tokenizer of one word, as a folder.

The sizes are those of the config.json of each repository; ``tests/encoders/test_published_sizes.py`` and
``tests/test_real_configurations.py`` count their parameters by hand. Weights of such a folder are random
(``encoder.pretrained: false``), which changes neither time nor memory. Each token of a text is the word ``word``.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError

LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA_70B = {
    **{"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
    "num_key_value_heads": 8,
}
LLAMA = {"vocab_size": 32000, "max_position_embeddings": 4096}
ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
TINY_BERT = {"hidden_size": 312, "intermediate_size": 1200, "num_hidden_layers": 4, "num_attention_heads": 12}
MINILM = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}
SMOLLM2 = {
    **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9},
    **{"num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192},
}
WORD = "word"
FILTERBANK = {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "num_mel_bins": 80, "stride": 2}


def _whisper(width: int, blocks: int, heads: int, bands: int = 80) -> dict[str, Any]:
    sizes = {"d_model": width, "encoder_layers": blocks, "encoder_attention_heads": heads, "encoder_ffn_dim": 4 * width}
    decoder = {"decoder_layers": blocks, "decoder_attention_heads": heads, "decoder_ffn_dim": 4 * width}
    return {"model_type": "whisper", **sizes, **decoder, "num_mel_bins": bands}


CONFIGURATIONS: dict[str, dict[str, Any]] = {  # beside these, transformers' defaults
    "facebook/w2v-bert-2.0": {"model_type": "wav2vec2-bert", **LARGE},
    "models/sonar_eng": {"model_type": "sonar-speech", **LARGE},
    "models/vggish": {"model_type": "vggish"},
    "facebook/hubert-base-ls960": {"model_type": "hubert"},
    "ntu-spml/distilhubert": {"model_type": "hubert", "num_hidden_layers": 2, "feat_proj_layer_norm": False},
    "TencentGameMate/chinese-hubert-large": {"model_type": "hubert", **LARGE, **LAYER_NORM},
    "facebook/wav2vec2-base": {"model_type": "wav2vec2"},
    "facebook/wav2vec2-large-robust": {"model_type": "wav2vec2", **LARGE, **LAYER_NORM},
    "microsoft/wavlm-base-plus": {"model_type": "wavlm"},
    "microsoft/wavlm-large": {"model_type": "wavlm", **LARGE, **LAYER_NORM, "conv_bias": False},
    "openai/whisper-tiny": _whisper(384, 4, 6),
    "openai/whisper-tiny.en": _whisper(384, 4, 6),
    "openai/whisper-base": _whisper(512, 6, 8),
    "openai/whisper-medium": _whisper(1024, 24, 16),
    "openai/whisper-large-v3": _whisper(1280, 32, 20, bands=128),
    "meta-llama/Llama-2-7b-hf": {"model_type": "llama", **LLAMA_7B, **LLAMA},
    "meta-llama/Llama-2-70b-hf": {"model_type": "llama", **LLAMA_70B, **LLAMA},
    "HuggingFaceTB/SmolLM2-135M-Instruct": {"model_type": "llama", **SMOLLM2},
    "FacebookAI/roberta-large": {"model_type": "roberta", **LARGE, **ROBERTA},
    "google-bert/bert-base-uncased": {"model_type": "bert"},
    "huawei-noah/TinyBERT_General_4L_312D": {"model_type": "bert", **TINY_BERT},
    "sentence-transformers/all-MiniLM-L6-v2": {"model_type": "bert", **MINILM},
}
TEXT = ("bert", "roberta", "xlm-roberta", "llama", "mistral", "qwen2")


def configuration(name: str) -> Any:
    """Return transformers' configuration of a published checkpoint, or of a folder.

    Raises:
        InputError: its sizes are not known here
    """
    import transformers  # heavy

    from pipeline_lib.encoders import sonar, vggish

    if (Path(name) / "config.json").is_file():
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    if name not in CONFIGURATIONS:
        raise InputError(
            f"the sizes of {name!r} are not known here; expected a folder with a config.json or one of"
            f" {sorted(CONFIGURATIONS)}"
        )
    sizes = dict(CONFIGURATIONS[name])
    own: dict[str, Callable[..., Any]] = {
        sonar.MODEL_TYPE: sonar.SonarSpeechConfig,
        vggish.MODEL_TYPE: vggish.VggishConfig,
    }
    kind = sizes.pop("model_type")
    return own[kind](**sizes) if kind in own else transformers.AutoConfig.for_model(kind, **sizes)


def blocks(config: Any) -> int:
    """Return how many transformer blocks a model has, of Whisper's its encoder."""
    return config.encoder_layers if config.model_type == "whisper" else config.num_hidden_layers


def lay_down(name: str, folder: Path, kept: int | None = None) -> None:
    """Write the folder of a checkpoint without its weights.

    Args:
        name: on the hub, or a folder, whose tokenizer and preprocessor are copied
        folder: which is made
        kept: number of its blocks; None for all

    Raises:
        InputError: its sizes are not known here
    """
    config = configuration(name)
    if kept is not None:
        for key in (
            ("encoder_layers", "num_hidden_layers") if config.model_type == "whisper" else ("num_hidden_layers",)
        ):
            setattr(config, key, kept)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    if Path(name).is_dir():
        for file in Path(name).glob("*"):
            if file.suffix in (".json", ".txt") and file.name not in ("config.json", "model.safetensors.index.json"):
                shutil.copyfile(file, folder / file.name)
        return
    if config.model_type in TEXT:
        _tokenizer(config.model_type).save_pretrained(folder)
        return
    preprocessor: dict[str, Any] = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    if config.model_type == "whisper":
        preprocessor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": config.num_mel_bins}
    elif hasattr(config, "feature_projection_input_dim"):
        preprocessor = FILTERBANK
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")


def _tokenizer(kind: str) -> Any:
    """Return a tokenizer that makes a token of each word; a decoder's has no padding, as LLaMA's."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, WORD: 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    padding = {} if kind in ("llama", "mistral", "qwen2") else {"pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", **padding)
