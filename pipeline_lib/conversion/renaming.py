"""Names of tensors in a ``.bin`` checkpoint of transformers -> names of the model's state dict today.

Four things differ between the two: the name of the backbone in front of every tensor (``wav2vec2.``, ``hubert.``,
``bert.``), TensorFlow's ``gamma`` and ``beta`` of layer norms (BERT and its kin), ``weight_g`` and ``weight_v`` of
weight normalisation before torch 2.0 had parametrisations, and tensors that are tied and written twice. Tensors that
belong to no backbone are left out by the list below and counted; any other name that is not known, and any that is
missing, is an error: nothing is dropped silently.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipeline_lib.errors import InputError

ENDINGS = (  # of a published name: of today's
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
LEFT_OUT = {  # kind of a tensor: beginnings of its name behind the backbone's
    "an output layer": ("lm_head.", "score.", "classifier.", "projector.", "qa_outputs.", "layer_weights"),
    "the head of pretraining": ("cls.", "quantizer.", "project_hid.", "project_q.", "final_proj.", "label_embs_concat"),
    "the layer of distillation": ("fit_dense.", "fit_denses."),
    "the pooler": ("pooler.",),
    "the mask of pretraining": ("masked_spec_embed",),
    "positions, which are counted anew": ("embeddings.position_ids",),
}
ROTARY = re.compile(r"(?:layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")  # LLaMA's angles, worked out anew
MAY_LACK = ("masked_spec_embed",)  # read by SpecAugment in training alone


class Renaming:
    """The expected tensors of a model, and the published names that stand for them.

    Args:
        model: on the meta device

    Attributes:
        expected: names and tensors on the meta device
        left_out: number of tensors left out so far, by reason
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.expected = model.state_dict()
        self.prefix = f"{model.base_model_prefix}."
        self.tied = {copy: source for copy, source in _tied(model) if copy in self.expected}
        self.left_out: dict[str, int] = {}

    def __call__(self, shard: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """Return a shard's tensors by today's names, without those of heads.

        Args:
            shard: tensors by published names, of any shape
            path: the file, for messages

        Raises:
            InputError: a name is not known or stands twice, a shape or a number is not as expected
        """
        kept: dict[str, Tensor] = {}
        for name, tensor in shard.items():
            today = self._today(name)
            if today is None:
                reason = self._reason(name)
                if reason is None:
                    raise InputError(
                        f"{path} holds {_short(name)}, expected only tensors of the architecture in config.json and"
                        " heads of transformers (is it a checkpoint of another architecture?)"
                    )
                self.left_out[reason] = self.left_out.get(reason, 0) + 1
                continue
            if today in kept and not torch.equal(kept[today], tensor):
                raise InputError(f"{path} holds two different tensors for {_short(today)}, expected one")
            _check(tensor, self.expected[today], name, path)
            kept[today] = tensor
        return kept

    def untied(self, shards: Sequence[dict[str, Tensor]], path: Path) -> list[dict[str, Tensor]]:
        """Return the shards without the copies of tied tensors.

        Args:
            shards: tensors by today's names, of the shapes of ``expected``
            path: the file, for messages

        Raises:
            InputError: a copy differs from its source, or an expected tensor is in no shard
        """
        every = {name: tensor for shard in shards for name, tensor in shard.items()}
        for copy, source in self.tied.items():
            if copy in every and source in every and not torch.equal(every[copy], every[source]):
                raise InputError(f"{path}: {_short(copy)} differs from {_short(source)}, to which config.json ties it")
        copies = {copy for copy, source in self.tied.items() if source in every}
        missing = [name for name in self.expected if name not in every and name not in copies and name not in MAY_LACK]
        if missing:
            raise InputError(
                f"{path} lacks {len(missing)} tensors of the architecture in config.json, {_short(missing[0])} first"
                " (is it a checkpoint of another architecture, or a shard missing?)"
            )
        return [{name: tensor for name, tensor in shard.items() if name not in copies} for shard in shards]

    def _today(self, name: str) -> str | None:
        """Return today's name of a tensor, None where the model has no such tensor."""
        for stem in (name, name.removeprefix(self.prefix)):
            for old, new in (("", ""), *ENDINGS):
                candidate = stem.removesuffix(old) + new
                if stem.endswith(old) and candidate in self.expected:
                    return candidate
        return None

    def _reason(self, name: str) -> str | None:
        """Return why a tensor is left out, None for one that belongs to the model or is not known."""
        stem = name.removeprefix(self.prefix)
        if ROTARY.fullmatch(stem):
            return "angles of positions, which are worked out anew"
        return next((kind for kind, starts in LEFT_OUT.items() if stem.startswith(starts)), None)


def _tied(model: PreTrainedModel) -> Iterator[tuple[str, str]]:
    """Yield the copy and the source of each tensor that the configuration ties."""
    if getattr(model.config, "tie_word_embeddings", False):
        yield from dict(getattr(model, "_tied_weights_keys", None) or {}).items()


def _check(tensor: Tensor, like: Tensor, name: str, path: Path) -> None:
    """Refuse a tensor of another shape or type, that its file does not hold whole, or that holds NaN or infinity."""
    if tensor.shape != like.shape:
        shapes = f"{tuple(tensor.shape)}, expected {tuple(like.shape)} by config.json"
        raise InputError(f"{path}: {_short(name)} has shape {shapes}")
    if tensor.is_floating_point() != like.is_floating_point() or tensor.is_quantized or tensor.is_sparse:
        raise InputError(f"{path}: {_short(name)} holds {tensor.dtype}, expected plain floating point")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise InputError(f"{path}: {_short(name)} repeats a part of its numbers, expected a plain tensor")
    if not torch.isfinite(tensor).all():
        raise InputError(
            f"{path}: {_short(name)} holds NaN or infinity, expected finite numbers (is the file damaged?)"
        )


def _short(name: str) -> str:
    """Return a name quoted for a message, a long one cut."""
    text = repr(name)
    return text if len(text) <= 120 else f"{text[:117]}..."
