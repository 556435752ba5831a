"""A transformer encoder: blocks of self-attention and a feed-forward layer over tokens and their mask."""

from torch import Tensor, nn

from pipeline_lib.networks.mixers import positions
from pipeline_lib.networks.mixers.attention import MultiHeadAttention
from pipeline_lib.params.network import MixerSettings


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each added to what it reads.

    ``before``: layer norm on what a sublayer reads (Xiong et al. 2020), otherwise on the sum behind it (Vaswani et al.
    2017).
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
        """Return ``(batch, time, width)`` from tokens of that shape and their mask ``(batch, time)``."""
        if self.before:
            read = self.attention_norm(tokens)
            tokens = tokens + self.dropout(self.attention(read, read, mask, rotation))
            return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))
        tokens = self.attention_norm(tokens + self.dropout(self.attention(tokens, tokens, mask, rotation)))
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))


class Transformer(nn.Module):
    """Blocks with rotary or absolute positions; a last layer norm where the blocks' own stand before the sublayers."""

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
        """Return each token in the light of all, ``(batch, time, width)``, from such tokens and ``(batch, time)``."""
        places = positions.places(mask)
        rotation = None if self.absolute else positions.rotation(places, self.head_width)
        if self.absolute:
            tokens = tokens + positions.sinusoids(places, tokens.shape[2]).to(tokens)
        tokens = self.dropout(tokens.float())  # what blocks add to stays in float32 under autocast
        for block in self.blocks:
            tokens = block(tokens, mask, rotation)
        return self.norm(tokens)
