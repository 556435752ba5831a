"""Whisper (Radford et al. 2022) through transformers, greedy, without timestamps and without a temperature ladder.

Every piece is padded to 30 s, as in training, so that a text does not depend on its neighbours in the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, PretrainedConfig, WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.encoders import checkpoint_safety, contents
from pipeline_lib.encoders.device import Device, autocast, autocast_dtype, pick, precision_of
from pipeline_lib.encoders.load_errors import explain, quiet
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.transcription import WhisperSettings
from pipeline_lib.tables.origin import Origin


class Whisper:
    """Whisper as an engine: a batch of recordings of at most 30 s at once."""

    def __init__(self, settings: WhisperSettings, device: Device = "auto") -> None:
        """Load the checkpoint.

        Args:
            settings: checkpoint, language and precision
            device: where the model runs

        Raises:
            InputError: it is missing, gated or no Whisper, or does not know the language
        """
        self.device = pick(device)
        self.half_precision = settings.half_precision
        with quiet():
            self.model, self.processor = _load(settings)
        self.model = self.model.to(self.device).eval()
        products = autocast_dtype(self.device, enabled=self.half_precision)
        self.origin = Origin(self.device.type, precision_of(self.model, products))
        self.language = _language(self.model, settings)

    @torch.inference_mode()
    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Return one text a waveform, in their order.

        Args:
            waveforms: mono, 16 kHz, float32 in [-1, 1], each of shape ``(n_samples,)``, at most 30 s

        Raises:
            MemoryError: the batch does not fit on the device
        """
        inputs = self.processor.feature_extractor(
            list(waveforms), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        )
        options = {} if self.language == "" else {"language": self.language, "task": "transcribe"}
        try:
            with quiet(), autocast(self.device, enabled=self.half_precision):
                tokens = self.model.generate(
                    inputs.input_features.to(self.device),
                    attention_mask=inputs.attention_mask.to(self.device),
                    num_beams=1,
                    do_sample=False,
                    return_timestamps=False,
                    **options,
                )
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from None
        texts = self.processor.tokenizer.batch_decode(tokens.cpu(), skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def _load(settings: WhisperSettings) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    named = EncoderSettings(checkpoint=settings.checkpoint, revision=settings.revision)
    contents.check_folder(settings.checkpoint)
    contents.check_configuration(named)
    try:
        config = AutoConfig.from_pretrained(settings.checkpoint, revision=settings.revision, trust_remote_code=False)
    except Exception as error:
        raise explain(error, named, "configuration") from error
    checkpoint_safety.check_kernels(config, settings.checkpoint)
    if config.model_type != "whisper":
        raise InputError(f"{settings.checkpoint} is a {config.model_type!r} model, expected Whisper")
    contents.check_sizes(config, settings.checkpoint)
    _check_windows(contents.preprocessor(named, settings.revision), config, settings.checkpoint)
    try:
        processor = WhisperProcessor.from_pretrained(settings.checkpoint, revision=settings.revision)
    except Exception as error:
        raise explain(error, named, "processor of Whisper") from error
    try:
        model, report = WhisperForConditionalGeneration.from_pretrained(
            settings.checkpoint,
            revision=settings.revision,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise explain(error, named, "weights") from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{settings.checkpoint} lacks {len(missing)} weights of Whisper, {missing[0]!r} first"
            " (is it a checkpoint of another architecture?)"
        )
    contents.check_finite(model, settings.checkpoint)
    _check_languages(model, settings.checkpoint)
    return model, processor


def _check_windows(values: Mapping[str, Any], config: PretrainedConfig, checkpoint: str) -> None:
    """Refuse a preprocessor whose windows do not fit the encoder."""
    bands, hop = values.get("feature_size", 80), values.get("hop_length", 160)
    frames = values.get("chunk_length", 30) * SAMPLE_RATE // hop
    rate = values.get("sampling_rate", SAMPLE_RATE)
    if (bands, frames, rate) != (config.num_mel_bins, 2 * config.max_source_positions, SAMPLE_RATE):
        expected = f"{config.num_mel_bins} bands x {2 * config.max_source_positions} frames at {SAMPLE_RATE} Hz"
        raise InputError(
            f"{checkpoint} does not fit together: its preprocessor makes {bands} bands x {frames} frames at {rate} Hz,"
            f" expected {expected}"
        )


def _check_languages(model: WhisperForConditionalGeneration, checkpoint: str) -> None:
    """Refuse a list of languages whose values are not tokens of the model."""
    languages = getattr(model.generation_config, "lang_to_id", None) or {}
    table = model.config.vocab_size
    known = isinstance(languages, dict) and all(
        isinstance(name, str) and type(token) is int and 0 <= token < table for name, token in languages.items()
    )
    if not known:
        raise InputError(
            f"{checkpoint}: lang_to_id in generation_config.json is no list of tokens from 0 to {table - 1}"
        )


def _language(model: WhisperForConditionalGeneration, settings: WhisperSettings) -> str | None:
    """Return the language's code, None to detect it, "" where the checkpoint knows English only.

    Raises:
        InputError: the checkpoint does not know the language
    """
    language = None if settings.language is None else settings.language.lower()
    code = None if language is None else TO_LANGUAGE_CODE.get(language, language)
    known = sorted(token[2:-2] for token in getattr(model.generation_config, "lang_to_id", None) or {})
    if not known:
        known, code = ["en"], "" if code in (None, "en") else code
    if code and code not in known:
        raise InputError(settings.unsupported(known))
    return code
