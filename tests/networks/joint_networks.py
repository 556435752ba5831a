"""Small networks with plain encoders, and batches for them."""

import torch
from torch import nn

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.networks.heads import build as build_head
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.mixers.build import build as build_mixer
from pipeline_lib.networks.network import Network
from pipeline_lib.params.network import HeadSettings, MixerSettings
from tests.networks.mixers.batches import WIDTHS

SHARED = MixerSettings(kind="shared_transformer", width=8, heads=2, layers=1)
ALL = ["audio", "text", "both"]


MIXED = [[1, 1], [1, 0], [0, 1], [1, 1], [0, 1], [1, 1]]


class Branch(nn.Module):
    """Two blocks that are linear layers; dropout between them."""

    def __init__(self, width, frozen):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.dropout = nn.Dropout(0.5)
        self.requires_grad_(not frozen)

    def forward(self, values, lengths):
        layers = [values]
        for block in self.blocks:
            layers.append(self.dropout(torch.tanh(block(layers[-1]))))
        return Hidden(tuple(layers), lengths)


class Encoder(nn.Module):
    """A branch a modality."""

    def __init__(self, frozen=True, widths=WIDTHS):
        super().__init__()
        self.branches = nn.ModuleDict({name: Branch(width, frozen) for name, width in widths.items()})

    def forward(self, present, **inputs):
        return {name: self.branches[name](*given) for name, given in inputs.items()}


def network(mixer=SHARED, heads=("shared",), kind="relu", frozen=True, weighted=True, seed=0, widths=WIDTHS, **options):
    torch.manual_seed(seed)
    mixed = build_mixer(mixer, widths)
    settings = HeadSettings(kind=kind, width=6)
    return Network(
        Encoder(frozen, widths),
        {name: LayerWeights(3) for name in widths} if weighted else {},
        mixed,
        {name: build_head(settings, mixed.width, 4, 2, sentiment=True) for name in heads},
        **options,
    )


def inputs(present, seed=0, time=(7, 4), widths=WIDTHS):
    generator = torch.Generator().manual_seed(seed)
    n, given = len(present), {"present": torch.tensor(present, dtype=torch.bool)}
    for (name, width), longest in zip(widths.items(), time, strict=True):
        lengths = torch.randint(1, longest + 1, (n,), generator=generator)
        given[name] = torch.randn(n, longest, width, generator=generator), lengths
    return given


def without(given, filling):
    """Return the inputs with something else in the columns of absent modalities."""
    changed = dict(given)
    for i, name in enumerate(WIDTHS):
        values, lengths = given[name]
        changed[name] = values.masked_fill(~given["present"][:, i, None, None], filling), lengths
    return changed
