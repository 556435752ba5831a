"""Shared transformers of a few units."""

import torch

from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.params.network import MixerSettings, SharedTransformerSettings
from tests.networks.mixers.batches import SMALL, WIDTHS


def settings_of(**own):
    return MixerSettings(
        kind="shared_transformer", shared_transformer=SharedTransformerSettings(**({"stride": 2} | own)), **SMALL
    )


def transformer(seed=0, widths=WIDTHS, **own):
    torch.manual_seed(seed)
    return SharedTransformer(widths, settings_of(**own)).eval()
