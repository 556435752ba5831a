"""The small Canary's configuration: NeMo's own classes, every size cut down."""

from typing import Any

WIDTH, ENCODER_LAYERS, DECODER_LAYERS, HEADS = 112, 3, 2, 4
_NEMO = "nemo.collections"


def model_config(special_tokenizer: str, english_tokenizer: str) -> dict[str, Any]:
    """Return the configuration of an EncDecMultiTaskModel.

    Args:
        special_tokenizer: folder of the tokenizer of the prompt's tokens
        english_tokenizer: folder of the tokenizer of words
    """
    return {
        "sample_rate": 16000,
        "label_smoothing": 0.0,
        "prompt_format": "canary",
        "log_prediction": False,
        "use_loss_mask_for_prompt": True,
        "model_defaults": {"asr_enc_hidden": WIDTH, "lm_enc_hidden": WIDTH, "lm_dec_hidden": WIDTH},
        "tokenizer": {
            "dir": None,
            "type": "agg",
            "langs": {
                "spl_tokens": {"dir": special_tokenizer, "type": "bpe"},
                "en": {"dir": english_tokenizer, "type": "bpe"},
            },
            "custom_tokenizer": {
                "_target_": f"{_NEMO}.common.tokenizers.canary_tokenizer.CanaryTokenizer",
                "tokenizers": None,
            },
        },
        "prompt_defaults": [
            {"role": "user", "slots": {"source_lang": "en", "target_lang": "en", "task": "asr", "pnc": "no"}}
        ],
        "preprocessor": _preprocessor(),
        "spec_augment": None,
        "encoder": _encoder(),
        "transf_encoder": {
            "_target_": f"{_NEMO}.asr.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 0,
            **_transformer_sizes(),
            "mask_future": False,
            "pre_ln_final_layer_norm": True,
        },
        "transf_decoder": {
            "_target_": f"{_NEMO}.asr.modules.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 256,
                "num_token_types": 0,
                "embedding_dropout": 0.0,
                "learn_positional_encodings": False,
                "hidden_act": "relu",
                "vocab_size": None,
                "num_layers": DECODER_LAYERS,
                **_transformer_sizes(),
            },
        },
        "head": {
            "_target_": f"{_NEMO}.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": WIDTH,
            "num_classes": None,
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": _decoding(),
        "loss": {
            "_target_": f"{_NEMO}.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
        "optim": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.98], "weight_decay": 1e-3},
    }


def _transformer_sizes() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "inner_size": 4 * WIDTH,
        "num_attention_heads": HEADS,
        "ffn_dropout": 0.0,
        "attn_score_dropout": 0.0,
        "attn_layer_dropout": 0.0,
        "pre_ln": True,
    }


def _preprocessor() -> dict[str, Any]:
    return {
        "_target_": f"{_NEMO}.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": 16000,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 1e-5,
        "pad_to": 0,
        "pad_value": 0.0,
    }


def _encoder() -> dict[str, Any]:
    return {
        "_target_": f"{_NEMO}.asr.modules.ConformerEncoder",
        "feat_in": 80,
        "feat_out": -1,
        "n_layers": ENCODER_LAYERS,
        "d_model": WIDTH,
        "subsampling": "dw_striding",
        "subsampling_factor": 4,
        "subsampling_conv_channels": 32,
        "causal_downsampling": False,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": HEADS,
        "att_context_size": [-1, -1],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 2000,
        "conv_kernel_size": 9,
        "conv_norm_type": "batch_norm",
        "dropout": 0.0,
        "dropout_pre_encoder": 0.0,
        "dropout_emb": 0.0,
        "dropout_att": 0.0,
    }


def _decoding() -> dict[str, Any]:
    return {
        "strategy": "greedy",
        "return_best_hypothesis": True,
        "greedy": {
            "temperature": None,
            "max_generation_delta": 10,
            "preserve_alignments": False,
            "preserve_token_confidence": False,
            "confidence_method_cfg": None,
            "n_samples": 1,
        },
    }
