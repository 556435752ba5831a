"""Batches of random frames, and one utterance out of a batch."""

import torch

from pipeline_lib.networks.frames import Frames
from pipeline_lib.params.network import ImaginationSettings, MixerSettings, SharedTransformerSettings

WIDTHS = {"audio": 6, "text": 5}
SMALL = {"width": 8, "heads": 2, "layers": 2}
ABSOLUTE = SharedTransformerSettings(positions="absolute", norm="post", stride=3)
NARROW = ImaginationSettings(autoencoders=1, widths=[3])

KINDS = [
    MixerSettings(kind="concatenation", pooling="mean"),
    MixerSettings(kind="concatenation", pooling="mean_max_sum"),
    MixerSettings(kind="concatenation", pooling="mean_max"),
    MixerSettings(kind="self_attention", attend="together", **SMALL),
    MixerSettings(kind="self_attention", attend="apart", pooling="mean_max", **SMALL),
    MixerSettings(kind="self_attention", attend="together", norm=False, **SMALL),
    MixerSettings(kind="cross_attention", **SMALL),
    MixerSettings(kind="modality_attention", pooling="mean_max", **SMALL),
    MixerSettings(kind="shared_transformer", **SMALL),
    MixerSettings(kind="shared_transformer", shared_transformer=ABSOLUTE, **SMALL),
    MixerSettings(kind="imagination", **SMALL),
    MixerSettings(kind="imagination", pooling="mean_max", imagination=NARROW, **SMALL),
    MixerSettings(kind="late", **SMALL),
]
NAMES = [f"{i}-{settings.kind}" for i, settings in enumerate(KINDS)]


def batch(audio, text, seed=0, longest=(0, 0)):
    """Return random frames of such lengths; a length of 0 is an absent modality."""
    generator = torch.Generator().manual_seed(seed)
    frames = {}
    for (name, width), lengths, least in zip(WIDTHS.items(), (audio, text), longest, strict=True):
        time = max(*lengths, least, 1)
        values = torch.randn(len(lengths), time, width, generator=generator)
        frames[name] = Frames(values, torch.arange(time) < torch.tensor(lengths)[:, None])
    return frames


def one_of(frames, i):
    """Return utterance i without padding, and without a modality that it lacks."""
    result = {}
    for name, part in frames.items():
        if part.mask[i].any():
            result[name] = Frames(part.values[i : i + 1, part.mask[i]], part.mask[i : i + 1, part.mask[i]])
    return result


def refilled(frames, filling):
    """Return the frames with other values where the mask is False."""
    return {
        name: Frames(part.values.masked_fill(~part.mask[..., None], filling), part.mask)
        for name, part in frames.items()
    }
