"""Pooling of frames to one vector an utterance: ``(batch, time, width) -> (batch, pooled width)``, padding left out."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.networks.frames import Frames, pooled, pooled_width
from pipeline_lib.params.network import PoolingSettings

SMALLEST_VARIANCE = 1e-8  # under the root, so that its gradient stays finite where frames do not differ


class MeanPooling(nn.Module):
    """Mean over time, with the population standard deviation appended where ``deviation``.

    Args:
        width: of a frame
        deviation: append it, which doubles the width
    """

    def __init__(self, width: int, deviation: bool = False) -> None:
        super().__init__()
        self.deviation = deviation
        self.width = 2 * width if deviation else width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        share = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
        return _statistics(frames, share, self.deviation)


class AttentivePooling(nn.Module):
    r"""Mean over time under learned weights.

    .. math:: \alpha_t = \mathrm{softmax}_t(v^T \tanh(W h_t + b)), \quad z = \sum_t \alpha_t h_t

    TalTech, section 3.1, names an "attentive pooling layer" without an equation; this is the attentive statistics
    pooling of Okabe, Koshinaka and Shinoda (Interspeech 2018) with the mean alone, or with ``deviation`` in full.

    Args:
        width: of a frame
        attention_width: rows of W
        deviation: append the standard deviation, which doubles the width
    """

    def __init__(self, width: int, attention_width: int, deviation: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, attention_width)
        self.score = nn.Linear(attention_width, 1, bias=False)
        self.deviation = deviation
        self.width = 2 * width if deviation else width

    def weights(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return each frame's weight, shape ``(batch, time)``, in [0, 1]; rows sum to 1, padding has 0.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        scores = self.score(torch.tanh(self.hidden(frames)))[..., 0].float()  # (batch, time)
        return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=1)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        return _statistics(frames, self.weights(frames, mask), self.deviation)


class LastTokenPooling(nn.Module):
    """The last frame or token that is not padding, as a causal language model is read."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (positions * mask).argmax(dim=1)  # works for padding on either side
        return frames[torch.arange(len(frames), device=frames.device), last]


class MaximumPooling(nn.Module):
    """Mean and maximum over time, their sum or concatenation; see ``frames.pooled``.

    Args:
        width: of a frame
        kind: mean_max_sum or mean_max
    """

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.width = pooled_width(kind, width)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        return pooled(Frames(frames.float(), mask.bool()).cleared(), self.kind)


class ProjectedPooling(nn.Module):
    """A linear layer and ReLU on each frame, then a pooling: the first layer of SUPERB's and of EmoBox's probe.

    Args:
        width: of a frame
        pooling: of frames as wide as the linear layer's output
        projection: that width
    """

    def __init__(self, width: int, pooling: nn.Module, projection: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, projection)
        self.pooling = pooling
        self.width = pooling.width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        return self.pooling(torch.relu(self.projection(frames.float())), mask)


class NormalisedPooling(nn.Module):
    """Batch norm of another pooling's vectors, as Desplanques et al., "ECAPA-TDNN", Interspeech 2020, have it.

    Features of an encoder differ in scale by orders of magnitude, and where they do a head learns slowly.

    Args:
        pooling: its ``width`` is that of its vectors
    """

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling, self.width = pooling, pooling.width
        self.norm = nn.BatchNorm1d(pooling.width)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled frames, shape ``(batch, self.width)``.

        Args:
            frames: shape ``(batch, time, width)``
            mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
        """
        return batch_normed(self.pooling(frames, mask), self.norm)


def batch_normed(vectors: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """Return the vectors under batch norm; one alone has no statistics of its own: the running ones serve.

    Args:
        vectors: shape ``(batch, width)``
        norm: of that width, in training mode or not
    """
    if len(vectors) > 1 or not norm.training:
        return norm(vectors)
    return functional.batch_norm(vectors, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def build(settings: PoolingSettings, width: int) -> nn.Module:
    """Return the pooling that the settings choose; its ``width`` is that of the pooled vectors.

    Args:
        settings: the kind and its options
        width: of a frame
    """
    if settings.projection is None:
        pooling = _pooling(settings, width)
    else:
        pooling = ProjectedPooling(width, _pooling(settings, settings.projection), settings.projection)
    return NormalisedPooling(pooling) if settings.batch_norm else pooling


def _pooling(settings: PoolingSettings, width: int) -> nn.Module:
    match settings.kind:
        case "attentive":
            return AttentivePooling(width, settings.attention_width, settings.statistics)
        case "mean" | "mean_std":
            return MeanPooling(width, deviation=settings.kind == "mean_std")
        case "mean_max_sum" | "mean_max":
            return MaximumPooling(width, settings.kind)
        case "last_token":
            return LastTokenPooling(width)


def _statistics(frames: Tensor, share: Tensor, deviation: bool) -> Tensor:
    """Return the mean over time under weights that sum to 1, with ``deviation`` the standard deviation behind it."""
    frames = frames.float()
    mean = torch.einsum("bt,btw->bw", share, frames)
    if not deviation:
        return mean
    variance = torch.einsum("bt,btw->bw", share, (frames - mean[:, None]).square())
    return torch.cat([mean, variance.clamp_min(SMALLEST_VARIANCE).sqrt()], dim=1)
