"""Load a backbone from the hub or a folder: weights from safetensors only, no code of the checkpoint's own, ever.

Dropped or set to zero, because this pipeline's layers are every block's output: layer drop, the SpecAugment that is
built into the speech models, convolutional adapters behind the last block, poolers; so is the cache of keys with which
decoders generate, and Whisper's decoder, whose blocks are not built.

``settings.weights`` is the precision of the weights; hidden states are in float32 in any case. In bfloat16 weights take
half the memory (LLaMA-2-7B 13.5 GB) and every product is rounded to 8 bits; ``four_bit`` holds nf4.
"""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    PretrainedConfig,
    PreTrainedModel,
)

from pipeline_lib.encoders import (
    checkpoint_safety,
    contents,
    four_bit,
    functionals,
    speech,
    text,
    vggish,
    vocabulary,
    whisper,
)
from pipeline_lib.encoders.load_errors import explain, quiet
from pipeline_lib.encoders.speech import Filterbanks, SpeechEncoder, Waveforms
from pipeline_lib.encoders.text import TextEncoder, Tokens
from pipeline_lib.encoders.whisper import WhisperWindows
from pipeline_lib.errors import InputError
from pipeline_lib.networks.bnb import keep_one_path
from pipeline_lib.params.encoder import EncoderSettings

os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # else a missing file is requested of a service on the hub

Encoder: TypeAlias = SpeechEncoder | TextEncoder

WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "nf4": 0.516}
SILENCED = {  # set where the architecture's configuration has it
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "add_adapter": False,
    "use_intermediate_ffn_before_adapter": False,
    "use_cache": False,  # of a decoder's keys, for generating; with gradient checkpointing transformers warns of it
}


def load_speech(settings: EncoderSettings, device: torch.device) -> SpeechEncoder:
    """Return a speech encoder in eval mode, its weights in float32 or bfloat16.

    Args:
        settings: the checkpoint and its options
        device: where it is to be

    Raises:
        InputError: the checkpoint is missing, gated, damaged, without safetensors or not of a speech model; each in
            one sentence with the remedy
    """
    if settings.is_functionals:
        raise InputError(f"{settings.checkpoint} is no checkpoint; expected one: functionals are for an embedding")
    if settings.weights == "nf4":
        raise InputError(f"{settings.checkpoint} is for speech, 4-bit weights are for text; set weights to bfloat16")
    config, revision = _config(settings, speech.MODEL_TYPES, "speech")
    if getattr(config, "conv_pos_batch_norm", False):
        raise InputError(
            f"{settings.checkpoint} has batch norm in its positions, which would see the padding; choose another"
        )
    true_length = settings.whisper_length == "true_length"
    if true_length and config.model_type != "whisper":
        raise InputError(
            f"whisper_length is 'true_length' and {settings.checkpoint} a {config.model_type!r} model, which always"
            " takes clips as long as they are; set it to padded_30s"
        )
    _set_regularisation(settings, config)
    model = _model(settings, config, revision, device)
    if config.model_type == "whisper":
        model = whisper.of_true_length(model.encoder) if true_length else model.encoder
    preprocessor = contents.preprocessor(settings, revision)
    prepare = _speech_inputs(config, preprocessor, settings.checkpoint, true_length=true_length)
    return SpeechEncoder(model, prepare, settings.checkpoint, revision).to(device).eval()


def load_text(settings: EncoderSettings, device: torch.device) -> TextEncoder:
    """Return a text encoder in eval mode, its weights in float32, bfloat16 or 4 bit.

    Args:
        settings: the checkpoint and its options
        device: where it is to be

    Raises:
        InputError: as for ``load_speech``, or bitsandbytes is not installed for 4 bit
    """
    config, revision = _config(settings, text.MODEL_TYPES, "text")
    tokenizer = vocabulary.load(settings, config, revision)
    model = _model(settings, config, revision, device)
    reserved = (
        config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0
    )  # their positions begin there
    prepare = Tokens(tokenizer, config.max_position_embeddings - reserved, config.vocab_size)
    return TextEncoder(model, prepare, settings.checkpoint, revision).to(device).eval()


def load_frozen(settings: EncoderSettings, modality: str, device: torch.device) -> Any:
    """Return the frozen encoder that an embedding is made by: an ``Encoder``, or functionals, which have its interface.

    Args:
        settings: the checkpoint and its options, or the name of functionals
        modality: that it reads
        device: where it is to be; functionals are computed on the CPU

    Raises:
        InputError: as for ``load_speech`` and ``load_text``, or opensmile is not installed
    """
    if settings.is_functionals:
        return functionals.load(settings)
    return LOADERS[modality](settings, device).requires_grad_(False)


# by modality; an encoder has ``model``, ``prepare``, ``width``, ``n_layers``, ``revision`` and a ``Hidden`` as result
LOADERS: dict[str, Callable[[EncoderSettings, torch.device], Encoder]] = {"audio": load_speech, "text": load_text}


def _config(settings: EncoderSettings, known: tuple[str, ...], modality: str) -> tuple[PretrainedConfig, str | None]:
    """Return the configuration as this pipeline runs it, and the commit that the checkpoint's files are read at."""
    contents.check_folder(settings.checkpoint)
    contents.check_configuration(settings)
    try:
        config = AutoConfig.from_pretrained(settings.checkpoint, revision=settings.revision, trust_remote_code=False)
    except Exception as error:
        raise explain(error, settings, "configuration") from error
    checkpoint_safety.check_kernels(config, settings.checkpoint)
    if config.model_type not in known:
        raise InputError(
            f"{settings.checkpoint} is a {config.model_type!r} model, a {modality} encoder is one of {list(known)}"
        )
    contents.check_sizes(config, settings.checkpoint)
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(
            f"{settings.checkpoint} holds weights that are quantised already, which cannot be reversed; give the full"
            " checkpoint, and set weights to nf4 for 4 bit"
        )
    for name, value in SILENCED.items():
        if hasattr(config, name):
            setattr(config, name, value)
    names = ["num_hidden_layers"]
    if config.model_type == "whisper":
        names, config.decoder_layers = ["encoder_layers", "num_hidden_layers"], 0
    blocks = getattr(config, names[0])
    if settings.layers_kept is not None:
        if settings.layers_kept > blocks:
            raise InputError(f"layers_kept is {settings.layers_kept}, {settings.checkpoint} has {blocks} blocks")
        for name in names:
            setattr(config, name, settings.layers_kept)
    return config, getattr(config, "_commit_hash", None) or settings.revision


def _set_regularisation(settings: EncoderSettings, config: PretrainedConfig) -> None:
    """Set SpecAugment and layer drop of a speech model, which only act while it is trained."""
    if settings.layerdrop:
        name = "encoder_layerdrop" if config.model_type == "whisper" else "layerdrop"
        if not hasattr(config, name):
            raise InputError(
                f"encoder.layerdrop is {settings.layerdrop:g} and {settings.checkpoint} a {config.model_type!r} model,"
                " which skips no blocks; set it to 0"
            )
        setattr(config, name, settings.layerdrop)
    if settings.spec_augment is None:
        return
    masks = settings.spec_augment.model_dump()
    requested = {"apply_spec_augment": True, **masks}
    absent = [name for name, value in requested.items() if value and not hasattr(config, name)]
    width = config.num_mel_bins if config.model_type == "whisper" else config.hidden_size
    if absent:
        raise InputError(
            f"encoder.spec_augment is set and {settings.checkpoint} a {config.model_type!r} model, which has no"
            f" {absent[0]}; set {'it to null' if absent[0] == 'apply_spec_augment' else 'that to 0'}"
        )
    if masks["mask_feature_length"] > width:
        raise InputError(
            f"spec_augment.mask_feature_length is {masks['mask_feature_length']}, {settings.checkpoint} is {width} wide"
        )
    for name, value in requested.items():
        setattr(config, name, value)


def _model(
    settings: EncoderSettings, config: PretrainedConfig, revision: str | None, device: torch.device
) -> PreTrainedModel:
    """Return the bare model; ``revision`` is the commit at which the configuration was read."""
    options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in text.BIDIRECTIONAL else {}
    dtype = torch.bfloat16 if settings.weights == "bfloat16" else torch.float32
    try:
        if device.type != "meta":
            contents.check_memory(config, settings.checkpoint, WEIGHT_BYTES[settings.weights], **options)
    except InputError:
        raise
    except Exception as error:
        raise explain(error, settings, "model of its configuration") from error
    if settings.weights == "nf4":
        four_bit.check_installed()
        four_bit.check_shapes(config, settings.checkpoint, device, **options)
    if not settings.pretrained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            try:
                if settings.weights == "nf4":
                    return four_bit.random_model(config, device, **options)
                return AutoModel.from_config(config, dtype=dtype, trust_remote_code=False, **options)
            except Exception as error:
                raise explain(error, settings, "model of its configuration") from error
    if settings.weights == "nf4":  # quantised where it arrives, a tensor at a time
        options |= {"quantization_config": four_bit.configuration(), "device_map": {"": device}}
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                settings.checkpoint,
                config=config,
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except Exception as error:
        raise explain(error, settings, "weights") from error
    if sorted(report["missing_keys"]) == ["masked_spec_embed"]:
        raise InputError(
            f"{settings.checkpoint} has no masked_spec_embed, the vector that stands in masked frames; set"
            " encoder.spec_augment to null"
        )
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{settings.checkpoint} lacks {len(missing)} weights that its configuration requires, {missing[0]!r} first"
            " (is it a checkpoint of another architecture?)"
        )
    if settings.layers_kept is None:
        contents.check_blocks(config, report["unexpected_keys"], settings.checkpoint)
    contents.check_finite(model, settings.checkpoint)
    if settings.weights == "nf4":
        keep_one_path(model)
    return model


def _speech_inputs(
    config: PretrainedConfig, preprocessor: dict[str, Any], checkpoint: str, *, true_length: bool
) -> speech.Prepare:
    """Return the preparation of the inputs, by the checkpoint's preprocessor_config.json."""
    rate = preprocessor.get("sampling_rate", speech.SAMPLE_RATE)
    if rate != speech.SAMPLE_RATE:
        raise InputError(f"{checkpoint} takes speech at {rate} Hz, this pipeline gives {speech.SAMPLE_RATE}")
    match config.model_type:
        case "whisper":
            extractor = whisper.extractor_of(preprocessor, config, checkpoint)
            return WhisperWindows(extractor, config.max_source_positions, true_length=true_length)
        case vggish.MODEL_TYPE:
            return vggish.LogMelPatches()
        case kind if kind in speech.FILTERBANK:
            stride = preprocessor.get("stride", 2)
            bands = preprocessor.get("num_mel_bins", config.feature_projection_input_dim // stride)
            if bands * stride != config.feature_projection_input_dim:
                raise InputError(
                    f"{checkpoint} does not fit together: its preprocessor makes {bands} bands x stride {stride}, its"
                    f" model takes {config.feature_projection_input_dim}"
                )
            return Filterbanks(bands, stride)
        case _:
            shortest = speech.receptive_field(config.conv_kernel, config.conv_stride)
            return Waveforms(shortest, normalise=preprocessor.get("do_normalize", True))  # transformers' default too
