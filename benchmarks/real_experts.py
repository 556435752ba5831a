"""The experts of the TalTech recipes with their real architectures and random weights; nothing is downloaded.

The configurations are those of ``pipeline_lib.rehearsal.published``.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from pipeline_lib.experts import disk
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.labels import PRIMARY, PSEUDO
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.recipes.compose import compose
from pipeline_lib.rehearsal.published import configuration

TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
CHUNK_S, TOKENS, TOKENS_PER_S = 4.0, 64, 4.0
FRAMES = 199  # of 4 s: 398 of 25 ms every 10 ms, two stacked


@dataclass(frozen=True)
class Expert:
    """A recipe's expert, and its encoder's size in the paper's table 1."""

    recipe: str
    config: PretrainedConfig
    published: str

    def settings(self, name: str) -> FinetuningSettings:
        """Return the recipe's entry."""
        return FinetuningSettings.parse(compose(self.recipe)["finetuning"][name], f"finetuning.{name}")


EXPERTS = {
    "audio": Expert("taltech", configuration("facebook/w2v-bert-2.0"), "555 M"),
    "sonar": Expert("taltech_postevaluation", configuration("models/sonar_eng"), "628 M"),
    "roberta": Expert("taltech", configuration("FacebookAI/roberta-large"), "355 M"),
    "text": Expert("taltech", configuration("meta-llama/Llama-2-7b-hf"), "6.74 B"),
    "llama70b": Expert("taltech_postevaluation", configuration("meta-llama/Llama-2-70b-hf"), "69 B"),
}


def build(config: PretrainedConfig, settings: FinetuningSettings, device: torch.device, precision: str) -> nn.Module:
    """Return the expert's network with random weights; on the meta device with none."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        if settings.modality == "audio":
            record = {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "num_mel_bins": 80, "stride": 2}
            (Path(folder) / "preprocessor_config.json").write_text(json.dumps(record))
        else:
            words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
            PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)
        changes = {"checkpoint": folder, "revision": None, "pretrained": False, "weights": precision}
        labels = (*PRIMARY, *PSEUDO) if settings.targets.pseudo_labels else PRIMARY
        settings_of_expert = ExpertSettings(
            branches={
                settings.modality: ExpertBranch(
                    encoder=settings.encoder.model_copy(update=changes),
                    layers=settings.layers,
                    adaptation=settings.adaptation,
                )
            },
            pooling=settings.pooling,
            head=settings.head,
            labels=list(labels),
            attributes=list(settings.targets.attributes),
            attribute_scale=[1.0, 7.0],
            attribute_range=settings.targets.attribute_range,
            seed=settings.seed,
            max_s=settings.predict.max_s,
            text=settings.text,
            context=settings.context,
        )
        network = disk.build(settings_of_expert, device)
    if settings.gradient_checkpointing:
        for encoder in network.encoder.branches.values():
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    return network.train()


def batch_size(settings: FinetuningSettings) -> int:
    """Return the batch size of the first phase."""
    return next(iter(settings.phases.values())).batch_size


def batch(network: nn.Module, settings: FinetuningSettings) -> dict[str, Any]:
    """Return a batch of noise, or of one token, as the network's encoder takes it."""
    n = batch_size(settings)
    ((name, encoder),) = network.encoder.branches.items()
    if name == "audio":
        width = encoder.model.config.feature_projection_input_dim
        inputs = {
            "input_features": torch.randn(n, FRAMES, width),
            "attention_mask": torch.ones(n, FRAMES, dtype=torch.int64),
        }
    else:
        ones = torch.ones(n, TOKENS, dtype=torch.int64)
        inputs = {"input_ids": ones, "attention_mask": ones.clone()}
    return {"present": torch.ones(n, 1, dtype=torch.bool), name: inputs | {"rows": torch.arange(n)}}


def tiny(config: PretrainedConfig) -> PretrainedConfig:
    """Return the architecture with a few thousand parameters."""
    grouped = {"num_key_value_heads": 1, "head_dim": 8} if config.model_type == "llama" else {}
    return type(config)(**{**config.to_diff_dict(), **TINY, **grouped})
