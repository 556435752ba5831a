"""WavLM's attention through its projection layers, so that LoRA on them acts.

transformers hands the weights of WavLM's query, key, value and output projections to torch's attention function and
never calls the layers, whose low-rank updates then do nothing. Here the layers are called, and the attention itself is
computed as there: scaled products plus the gated relative position bias, padded keys left out.
"""

from torch import Tensor, nn
from torch.nn import functional
from transformers.models.wavlm.modeling_wavlm import WavLMAttention


class ProjectedAttention(WavLMAttention):
    """WavLM's attention, whose projections are called as layers."""

    def torch_multi_head_self_attention(
        self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the attended states and the attention's weights.

        Args:
            hidden_states: shape ``(batch, time, width)``
            attention_mask: 1 where a frame is the utterance's own, shape ``(batch, time)``; None for all
            gated_position_bias: shape ``(batch * heads, time, time)``

        Returns:
            shapes ``(batch, time, width)`` and ``(batch, heads, time, time)``
        """
        batch, time, width = hidden_states.shape

        def heads(states: Tensor) -> Tensor:
            return states.view(batch, time, self.num_heads, self.head_dim).transpose(1, 2)

        query, key, value = (heads(layer(hidden_states)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        scores = self.scaling * query @ key.transpose(2, 3)  # (batch, heads, time, time)
        scores = scores + gated_position_bias.view(batch, self.num_heads, time, time)
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask.ne(1)[:, None, None, :], float("-inf"))
        weights = functional.dropout(scores.softmax(dim=-1), p=self.dropout, training=self.training)
        attended = (weights @ value).transpose(1, 2).reshape(batch, time, width)
        return self.out_proj(attended), weights


def call_projections(model: nn.Module) -> None:
    """Make every attention of a WavLM call its projection layers.

    Args:
        model: changed in place; of another architecture it stays as it is
    """
    for module in model.modules():
        if type(module) is WavLMAttention:
            module.__class__ = ProjectedAttention  # the same parameters under the same names
