"""Multi-head attention of Vaswani et al. 2017, with which several mixers are built."""

from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.networks.mixers.positions import Rotation


class MultiHeadAttention(nn.Module):
    r""":math:`\mathrm{softmax}(Q K^T / \sqrt{d}) V` in several heads of width d (MERSA, equations 2 to 4).

    Args:
        width: of a token
        heads: their number, which divides ``width``
        dropout: of the attention weights in training, in [0, 1)
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.heads = heads
        self.dropout = dropout

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Return each query's weighted values, shape ``(batch, n_queries, width)``; zeros in a row without any key.

        Args:
            queries: shape ``(batch, n_queries, width)``
            keys: shape ``(batch, n_keys, width)``, of which the values are made too
            mask: True where a key exists, bool, shape ``(batch, n_keys)``
            rotation: rotary positions of self-attention; None for none
        """
        q, k, v = self._split(self.query(queries)), self._split(self.key(keys)), self._split(self.value(keys))
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        some = mask.any(dim=1)
        allowed = mask | ~some[:, None]  # a softmax over nothing would be no number
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(q, k, v, allowed[:, None, None], dropout)
        return self.out(attended.transpose(1, 2).flatten(2)).masked_fill(~some[:, None, None], 0.0)

    def _split(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, time, d)


class AlignedWidths(nn.Module):
    """A linear layer to one common width for each modality, and layer norm where ``norm`` (MERSA, section IV-B).

    Args:
        widths: width of each modality's frames
        width: the common one
        norm: whether layer norm follows
    """

    def __init__(self, widths: dict[str, int], width: int, norm: bool) -> None:
        super().__init__()
        self.linear = nn.ModuleDict({name: nn.Linear(width_in, width) for name, width_in in widths.items()})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) if norm else nn.Identity() for name in widths})

    def forward(self, name: str, values: Tensor) -> Tensor:
        """Return one modality's frames at the common width, shape ``(batch, time, width)``.

        Args:
            name: of the modality
            values: its frames, shape ``(batch, time, widths[name])``
        """
        return self.norm[name](self.linear[name](values))
