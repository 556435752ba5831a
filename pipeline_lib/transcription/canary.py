"""NVIDIA Canary (Puvvada et al. 2024) through NeMo's EncDecMultiTaskModel, greedy.

The model's own preprocessor, encoder and decoding are called without ``transcribe()``'s data loader, which for arrays
gives the same texts. Three things are set so that a text does not depend on its neighbours in the batch: no dither, no
padding to a multiple, and a text that does not end is cut at the utterance's own frames + ``max_generation_delta``
tokens, prompt included (NeMo counts the frames of the longest in the batch). Special tokens (``<|nospeech|>``) are
taken out of texts.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from omegaconf import DictConfig, OmegaConf

from pipeline_lib.audio import SAMPLE_RATE
from pipeline_lib.encoders.device import Device, autocast, pick
from pipeline_lib.encoders.refusals import explain
from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.errors import InputError
from pipeline_lib.transcription import archive
from pipeline_lib.transcription.settings import CanarySettings

for _name in ("nemo_logger", "nv_one_logger", "OneLogger", "lhotse"):
    logging.getLogger(_name).setLevel(logging.ERROR)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nemo.collections.asr.models import ASRModel, EncDecMultiTaskModel
    from nemo.utils import logging as nemo_logging
    from nemo.utils.app_state import AppState

SHORTEST = SAMPLE_RATE  # Canary was trained with silence around what is shorter than a second
SPECIAL = re.compile(r"<\|[^|<>]*\|>|<pad>|<unk>")


class Canary:
    """Hears up to a batch of recordings at once."""

    def __init__(self, settings: CanarySettings, device: Device = "auto") -> None:
        """Load the checkpoint.

        Raises:
            InputError: it is missing, gated, no archive or no Canary, or does not know the language
        """
        self.device = pick(device)
        self.half_precision = settings.half_precision
        with _hushed():
            self.model = _load(settings, self.device).eval()
            _set_greedy(self.model)
        if self.model.sample_rate != SAMPLE_RATE:
            raise InputError(f"{settings.checkpoint} hears {self.model.sample_rate} Hz, wanted {SAMPLE_RATE} Hz")
        self.model.preprocessor.featurizer.dither = 0.0
        self.model.preprocessor.featurizer.pad_to = 0
        self.prompt = _prompt(self.model, settings)  # (1, n_tokens)

    @torch.inference_mode()
    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Return one text a waveform, in their order.

        Args:
            waveforms: mono, 16 kHz, float32 in [-1, 1], each of shape ``(n_samples,)``

        Raises:
            MemoryError: the batch does not fit on the device
        """
        try:
            with _hushed(), autocast(self.device, wanted=self.half_precision):
                return self._texts(waveforms)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from None

    def _texts(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        signal, lengths = _padded(waveforms)
        _, encoded_lengths, states, mask = self.model.forward(
            input_signal=signal.to(self.device), input_signal_length=lengths.to(self.device)
        )
        heard = self.model.decoding.decode_predictions_tensor(
            encoder_hidden_states=states,
            encoder_input_mask=mask,
            decoder_input_ids=self.prompt.repeat(len(waveforms), 1),
            return_hypotheses=True,
        )
        delta = self.model.cfg.decoding.greedy.max_generation_delta
        texts = []
        for hypothesis, frames in zip(heard, encoded_lengths.tolist(), strict=True):
            text = hypothesis.text
            cap = max(frames + delta - self.prompt.shape[1], 0)
            if delta >= 0 and len(hypothesis.y_sequence) > cap:
                text = self.model.decoding.decode_ids_to_str(torch.as_tensor(hypothesis.y_sequence)[:cap].tolist())
            texts.append(" ".join(SPECIAL.sub(" ", text).split()))
        return texts


def _padded(waveforms: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch, zeros behind, and its lengths; what is shorter than a second gets silence on either side."""
    wide = [
        np.pad(each, ((SHORTEST - len(each)) // 2, -((len(each) - SHORTEST) // 2))) if len(each) < SHORTEST else each
        for each in waveforms
    ]
    lengths = torch.tensor([len(each) for each in wide])
    signal = torch.zeros(len(wide), int(lengths.max()))
    for row, each in zip(signal, wide, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return signal, lengths


def _load(settings: CanarySettings, device: torch.device) -> EncDecMultiTaskModel:
    path = _archive(settings)
    archive.check(path)
    try:
        model = ASRModel.restore_from(str(path), map_location=device)
    except torch.OutOfMemoryError:
        raise InputError(f"{settings.checkpoint} does not fit into the memory of {device}") from None
    except Exception as error:
        first = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{settings.checkpoint} cannot be restored by NeMo: {first} (damaged, or of another version?)"
        ) from error
    finally:
        AppState().model_restore_path = None  # else the next model made in this process would look into this archive
    if not isinstance(model, EncDecMultiTaskModel):
        raise InputError(
            f"{settings.checkpoint} is a {type(model).__name__}, wanted Canary's EncDecMultiTaskModel"
            " (is it a CTC or transducer checkpoint?)"
        )
    return model


def _archive(settings: CanarySettings) -> Path:
    """Return the .nemo file, fetched from the hub where the checkpoint is a name."""
    path, name = Path(settings.checkpoint), settings.checkpoint
    if path.is_file():
        return path
    if name.endswith(".nemo") or path.is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise InputError(
            f"{name} does not exist, wanted a .nemo file, or 'owner/model' on the hub"
            " (was it moved, or is a relative path meant from the project's root?)"
        )
    wanted = f"{PurePosixPath(name).name}.nemo"
    try:
        return Path(hf_hub_download(name, wanted, revision=settings.revision))
    except RemoteEntryNotFoundError:
        raise InputError(f"checkpoint {name} has no file {wanted} on the hub (is it a NeMo checkpoint?)") from None
    except (OSError, ValueError, LocalEntryNotFoundError) as error:
        raise explain(error, EncoderSettings(checkpoint=name, revision=settings.revision), wanted) from error


def _set_greedy(model: EncDecMultiTaskModel) -> None:
    """Choose greedy decoding; released checkpoints ask for a beam of 1, which is slower and says the same."""
    said = OmegaConf.to_container(model.cfg.decoding)
    strategy = said.get("strategy", "beam")
    delta = (said.get(strategy) or {}).get("max_generation_delta", 50)
    greedy = {"temperature": None, "max_generation_delta": delta, "preserve_alignments": False, "n_samples": 1}
    model.change_decoding_strategy(DictConfig({"strategy": "greedy", "greedy": greedy}))


def _prompt(model: EncDecMultiTaskModel, settings: CanarySettings) -> torch.Tensor:
    """Return the tokens that ask for a transcript in the source language, shape ``(1, n_tokens)``.

    Raises:
        InputError: the checkpoint has no token for the language
    """
    language = settings.source_language
    known = {token[2:-2] for token in getattr(model.tokenizer, "special_tokens", {}) if len(token) in (6, 7)}
    if known and language not in known:
        raise InputError(
            f"transcription.canary.source_language is {language!r}, which {settings.checkpoint} does not hear;"
            f" wanted one of {sorted(known & _languages(model))}"
        )
    wanted = {"source_lang": language, "target_lang": language, "task": "asr", "pnc": "yes" if settings.pnc else "no"}
    neutral = {"decodercontext": "", "emotion": "<|emo:undefined|>", "itn": "no", "timestamp": "no", "diarize": "no"}
    turns = model.prompt.get_default_dialog_slots()
    slots = turns[0]["slots"]
    slots.update({name: value for name, value in wanted.items() if name in slots})
    slots.update({name: value for name, value in neutral.items() if name in slots})
    return model.prompt.encode_dialog(turns=turns)["context_ids"].unsqueeze(0).to(next(model.parameters()).device)


def _languages(model: EncDecMultiTaskModel) -> set[str]:
    """Return the languages whose text the tokenizer knows; where one tokenizer has all, every two-letter token."""
    own = set(model.tokenizer.langs) - {"spl_tokens"}
    return own if len(own) > 1 else {token[2:-2] for token in model.tokenizer.special_tokens if len(token) == 6}


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep NeMo, hydra and their warnings quiet; errors are still shown."""
    hydra = logging.getLogger("hydra.utils")  # it reports, as an error, that a factory function is no class
    level, before = nemo_logging.get_verbosity(), hydra.level
    nemo_logging.set_verbosity(nemo_logging.ERROR)
    hydra.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        nemo_logging.set_verbosity(level)
        hydra.setLevel(before)
