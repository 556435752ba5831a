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
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.command import full_disk
from pipeline_lib.encoders import contents
from pipeline_lib.encoders.device import Device, autocast, autocast_dtype, pick, precision_of
from pipeline_lib.encoders.load_errors import explain
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.transcription import CanarySettings
from pipeline_lib.tables.origin import Origin
from pipeline_lib.transcription import archive

for _name in ("nemo_logger", "nv_one_logger", "OneLogger", "lhotse"):
    logging.getLogger(_name).setLevel(logging.ERROR)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
    from nemo.utils import logging as nemo_logging
    from nemo.utils.app_state import AppState

SHORTEST = SAMPLE_RATE  # Canary was trained with silence around what is shorter than a second
SPECIAL = re.compile(r"<\|[^|<>]*\|>|<pad>|<unk>")
CONTROL = re.compile(r"<\|[^|<>]+\|>|▁")  # tokens of a prompt; SentencePiece may begin a text with a blank
LANGUAGE = re.compile(r"<\|(?!pnc|itn)([a-z]{2,3}(?:-[A-Z]{2})?)\|>")


class Canary:
    """Canary as an engine: a batch of recordings at once."""

    def __init__(self, settings: CanarySettings, device: Device = "auto") -> None:
        """Load the checkpoint.

        Args:
            settings: checkpoint, language and precision
            device: where the model runs

        Raises:
            InputError: it is missing, gated, no archive or no Canary, holds NaN, or does not know the language
        """
        self.device = pick(device)
        self.half_precision = settings.half_precision
        with _hushed():
            self.model = _load(settings, self.device).eval()
        products = autocast_dtype(self.device, enabled=self.half_precision)
        self.origin = Origin(self.device.type, precision_of(self.model, products))
        contents.check_finite(self.model, settings.checkpoint)
        if self.model.sample_rate != SAMPLE_RATE:
            raise InputError(f"{settings.checkpoint} takes {self.model.sample_rate} Hz, expected {SAMPLE_RATE} Hz")
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
            with _hushed(), autocast(self.device, enabled=self.half_precision):
                return self._texts(waveforms)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from None

    def _texts(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        signal, lengths = _padded(waveforms)
        _, encoded_lengths, states, mask = self.model.forward(
            input_signal=signal.to(self.device), input_signal_length=lengths.to(self.device)
        )
        hypotheses = self.model.decoding.decode_predictions_tensor(
            encoder_hidden_states=states,
            encoder_input_mask=mask,
            decoder_input_ids=self.prompt.repeat(len(waveforms), 1),
            return_hypotheses=True,
        )
        delta = self.model.cfg.decoding.greedy.max_generation_delta
        texts = []
        for hypothesis, frames in zip(hypotheses, encoded_lengths.tolist(), strict=True):
            text = hypothesis.text
            cap = max(frames + delta - self.prompt.shape[1], 0)
            if delta >= 0 and len(hypothesis.y_sequence) > cap:
                text = self.model.decoding.decode_ids_to_str(torch.as_tensor(hypothesis.y_sequence)[:cap].tolist())
            texts.append(" ".join(SPECIAL.sub(" ", text).split()))
        return texts


def _padded(waveforms: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch, zeros behind, and its lengths; less than a second gets silence on either side."""
    wide = [
        np.pad(x, ((SHORTEST - len(x)) // 2, -((len(x) - SHORTEST) // 2))) if len(x) < SHORTEST else x
        for x in waveforms
    ]
    lengths = torch.tensor([len(x) for x in wide])
    signal = torch.zeros(len(wide), int(lengths.max()))
    for row, waveform in zip(signal, wide, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return signal, lengths


def _load(settings: CanarySettings, device: torch.device) -> EncDecMultiTaskModel:
    try:
        with archive.unpacked(_archive(settings)) as (folder, config), _without_resolvers():
            return EncDecMultiTaskModel.restore_from(
                str(folder),
                override_config_path=OmegaConf.create(config),
                map_location=device,
                save_restore_connector=_Connector(folder),
            )
    except torch.OutOfMemoryError:
        raise InputError(f"{settings.checkpoint} does not fit into the memory of {device}") from None
    except Exception as error:
        if isinstance(error, InputError) or full_disk(error):
            raise
        first = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{settings.checkpoint} cannot be restored by NeMo: {first} (damaged, or of another version?)"
        ) from error
    finally:
        EncDecMultiTaskModel._set_model_restore_state(is_being_restored=False)
        AppState().model_restore_path = None  # else the next model made in this process would look into this folder


class _Connector(SaveRestoreConnector):
    """Restore from a folder, weights only, whatever the environment sets for pickles."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model_extracted_dir = str(folder)

    @staticmethod
    def _load_state_dict_from_disk(model_weights: str, map_location: torch.device | str = "cpu") -> dict[str, Any]:
        return torch.load(model_weights, map_location=map_location, weights_only=True)


@contextmanager
def _without_resolvers() -> Iterator[None]:
    """Remove OmegaConf's resolvers; the configuration has no interpolation any more."""
    before = dict(BaseContainer._resolvers)
    BaseContainer._resolvers.clear()
    try:
        yield
    finally:
        BaseContainer._resolvers.update(before)


def _archive(settings: CanarySettings) -> Path:
    """Return the .nemo file: the checkpoint, the one in its folder, or the hub's where the checkpoint is a name."""
    path, name = Path(settings.checkpoint), settings.checkpoint
    if path.is_file():
        return path
    if path.is_dir():
        files = sorted(file for file in path.glob("*.nemo") if file.is_file())
        if len(files) != 1:
            raise InputError(
                f"{name} is a folder with {len(files)} .nemo files {[file.name for file in files[:5]]}, expected one"
                " (name the file?)"
            )
        return files[0]
    if name.endswith(".nemo") or path.is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise InputError(
            f"{name} does not exist, expected a .nemo file, its folder, or 'owner/model' on the hub"
            " (was it moved, or is a relative path meant from the project's root?)"
        )
    expected = f"{PurePosixPath(name).name}.nemo"
    try:
        return Path(hf_hub_download(name, expected, revision=settings.revision))
    except RemoteEntryNotFoundError:
        raise InputError(f"checkpoint {name} has no file {expected} on the hub (is it a NeMo checkpoint?)") from None
    except (OSError, ValueError, LocalEntryNotFoundError) as error:
        raise explain(error, EncoderSettings(checkpoint=name, revision=settings.revision), expected) from error


def _prompt(model: EncDecMultiTaskModel, settings: CanarySettings) -> torch.Tensor:
    """Return the prompt of a transcript in the source language, token ids of shape ``(1, n_tokens)``.

    Raises:
        InputError: the checkpoint has no token for the language, or for another part of the prompt
    """
    language = settings.source_language
    known = _languages(model)
    if language not in known:
        raise InputError(
            f"transcription.canary.source_language is {language!r}, for which {settings.checkpoint} has no token;"
            f" expected one of {sorted(known)}"
        )
    values = {"source_lang": language, "target_lang": language, "task": "asr", "pnc": "yes" if settings.pnc else "no"}
    neutral = {"decodercontext": "", "emotion": "<|emo:undefined|>", "itn": "no", "timestamp": "no", "diarize": "no"}
    turns = model.prompt.get_default_dialog_slots()
    slots = turns[0]["slots"]
    slots.update({name: value for name, value in (values | neutral).items() if name in slots})
    try:
        ids = model.prompt.encode_dialog(turns=turns)["context_ids"]
        unknown = [token for token in _tokens(model, ids.tolist()) if not CONTROL.fullmatch(token)]
    except (KeyError, AssertionError, RuntimeError) as error:
        unknown = [str(error)]
    if unknown:
        raise InputError(
            f"{settings.checkpoint} has no token for a part of the prompt {slots}: it becomes {unknown[:5]}"
            " (is its tokenizer that of a Canary?)"
        )
    return ids.unsqueeze(0).to(next(model.parameters()).device)


def _tokens(model: EncDecMultiTaskModel, ids: list[int]) -> list[str]:
    """Return a prompt's tokens; an aggregate tokenizer has the special ones in a table."""
    special = getattr(model.tokenizer, "special_tokens", None)
    if special is None:
        return model.tokenizer.ids_to_tokens(ids)
    names = {number: token for token, number in special.items()}
    return [names[number] for number in ids]


def _languages(model: EncDecMultiTaskModel) -> set[str]:
    """Return the languages that a prompt can name and, where each has a tokenizer of its own, that can be written."""
    tokenizer = model.tokenizer
    special = getattr(tokenizer, "special_tokens", None)
    tokens = tokenizer.ids_to_tokens(list(range(tokenizer.vocab_size))) if special is None else special
    known = {match[1] for match in map(LANGUAGE.fullmatch, tokens) if match}
    own = set(getattr(tokenizer, "langs", ())) - {"spl_tokens"}
    return known & own if len(own) > 1 else known


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
