"""Tiny checkpoints of every architecture, random weights, written to a folder as transformers would."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    HubertConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    WavLMConfig,
    WhisperConfig,
)

from pipeline_lib.encoders.sonar import SonarSpeechConfig
from pipeline_lib.encoders.vggish import VggishConfig

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
CONVOLUTIONS = {
    "conv_dim": [16, 16, 16, 16, 16, 16, 16],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "conv_bias": True,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}  # as the large models have it
WORDS = ["the", "a", "i", "am", "so", "very", "happy", "sad", "angry", "today", "and", "not", "you", "are", "we", "it"]

SPEECH: dict[str, PretrainedConfig] = {
    "hubert_group": HubertConfig(**SMALL, **CONVOLUTIONS),
    "hubert_layer": HubertConfig(**SMALL, **CONVOLUTIONS, **LARGE),
    "distilhubert": HubertConfig(**{**SMALL, "num_hidden_layers": 2}, **CONVOLUTIONS, feat_proj_layer_norm=False),
    "wav2vec2_group": Wav2Vec2Config(**SMALL, **CONVOLUTIONS),
    "wav2vec2_layer": Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **LARGE),
    "wavlm_group": WavLMConfig(**SMALL, **CONVOLUTIONS, num_buckets=32, max_bucket_distance=40),
    "wavlm_layer": WavLMConfig(**SMALL, **CONVOLUTIONS, **LARGE, num_buckets=32, max_bucket_distance=40),
    "w2v_bert": Wav2Vec2BertConfig(**SMALL, feature_projection_input_dim=160),
    "w2v_bert_relative": Wav2Vec2BertConfig(
        **SMALL, feature_projection_input_dim=160, position_embeddings_type="relative"
    ),
    "w2v_bert_rotary": Wav2Vec2BertConfig(**SMALL, feature_projection_input_dim=160, position_embeddings_type="rotary"),
    "w2v_bert_sonar": SonarSpeechConfig(**SMALL),
    "whisper": WhisperConfig(
        vocab_size=60,
        d_model=32,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=100,  # windows of 2 s in place of 30 s
        max_target_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    ),
    "vggish": VggishConfig(channels=[4, 6, 8, 10], fully_connected_size=24, hidden_size=32),
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": len(WORDS) + 4}


def _text(sizes: dict[str, int]) -> dict[str, PretrainedConfig]:
    tokens = {**TOKENS, "max_position_embeddings": 24}
    return {
        "bert": BertConfig(**sizes, **tokens),
        "roberta": RobertaConfig(**sizes, **tokens, type_vocab_size=1),
        "llama": LlamaConfig(**sizes, **{**tokens, "pad_token_id": None}, num_key_value_heads=2),
    }


TEXT = _text(SMALL)
WIDE = {**SMALL, "hidden_size": 128, "intermediate_size": 192}  # 64 divides both: 4 bit is exact on every processor
FOUR_BIT = {f"{name}_wide": config for name, config in _text(WIDE).items()}


def write(folder: Path, name: str) -> Path:
    """Write the checkpoint of that name below ``folder`` and return its folder."""
    checkpoint = folder / name
    torch.manual_seed(0)
    model = AutoModel.from_config((SPEECH | TEXT | FOUR_BIT)[name])
    with torch.no_grad():
        # norms and biases too: at their initial ones and zeros mistakes would hide
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(checkpoint)
    if name in TEXT | FOUR_BIT:
        tokenizer(padding=not name.startswith("llama")).save_pretrained(checkpoint)
    elif name not in ("whisper", "vggish"):
        bert = {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "num_mel_bins": 80, "stride": 2}
        wave = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": name != "wavlm_group"}
        values = {"sampling_rate": 16_000, **(bert if name.startswith("w2v") else wave)}
        (checkpoint / "preprocessor_config.json").write_text(json.dumps(values))
    return checkpoint


def tokenizer(*, padding: bool) -> PreTrainedTokenizerFast:
    """Return a word tokenizer: with start and end as BERT has it, or with a start alone and no padding as LLaMA."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if padding else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        **({"pad_token": "<pad>"} if padding else {}),
    }
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)
