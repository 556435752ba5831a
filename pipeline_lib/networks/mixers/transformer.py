"""A transformer encoder: blocks of self-attention and a feed-forward layer over tokens and their mask."""

from torch import Tensor, nn

from pipeline_lib.networks.mixers import positions
from pipeline_lib.networks.mixers.attention import MultiHeadAttention
from pipeline_lib.params.network import MixerSettings


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual connection.

    Args:
        width: of a token
        heads: their number, which divides ``width``
        feed_forward: width of the feed-forward layer
        dropout: in [0, 1)
        before: layer norm before each sublayer (Xiong et al. 2020), otherwise behind the residual sum (Vaswani et al.
            2017)
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float, before: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.before = before

    def forward(self, tokens: Tensor, mask: Tensor, rotation: positions.Rotation | None) -> Tensor:
        """Return the transformed tokens, shape ``(batch, time, width)``.

        Args:
            tokens: shape ``(batch, time, width)``
            mask: True where a token exists, bool, shape ``(batch, time)``
            rotation: rotary positions; None for none
        """
        if self.before:
            normed = self.attention_norm(tokens)
            tokens = tokens + self.dropout(self.attention(normed, normed, mask, rotation))
            return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))
        tokens = self.attention_norm(tokens + self.dropout(self.attention(tokens, tokens, mask, rotation)))
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))


class Transformer(nn.Module):
    """Blocks with rotary or absolute positions; a last layer norm where the blocks' own stand before the sublayers.

    Args:
        settings: ``width``, ``heads``, ``layers``, ``dropout``, ``shared_transformer``
    """

    def __init__(self, settings: MixerSettings) -> None:
        super().__init__()
        width, own = settings.width, settings.shared_transformer
        before = own.norm == "pre"
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, own.feed_forward * width, settings.dropout, before)
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width) if before else nn.Identity()
        self.dropout = nn.Dropout(settings.dropout)
        self.absolute = own.positions == "absolute"
        self.head_width = width // settings.heads

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return contextualised tokens, shape ``(batch, time, width)``.

        Args:
            tokens: shape ``(batch, time, width)``
            mask: True where a token exists, bool, shape ``(batch, time)``
        """
        position_ids = positions.position_ids(mask)
        rotation = None if self.absolute else positions.rotation(position_ids, self.head_width)
        if self.absolute:
            tokens = tokens + positions.sinusoids(position_ids, tokens.shape[2]).to(tokens)
        tokens = self.dropout(tokens.float())  # what blocks add to stays in float32 under autocast
        for block in self.blocks:
            tokens = block(tokens, mask, rotation)
        return self.norm(tokens)
