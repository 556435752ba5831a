"""Prediction heads: from one vector an utterance to the outputs.

``(batch, width) -> logits, attributes, gender, sentiment, embedding``
"""

import torch
from torch import Tensor, nn

from pipeline_lib.labels import GENDERS
from pipeline_lib.networks.pooling import batch_normed
from pipeline_lib.params.network import HeadSettings

N_SENTIMENTS = 3  # negative, neutral, positive
NONLINEARITIES = {"dense": torch.relu, "relu": torch.relu, "tanh": torch.tanh, "linear": nn.Identity()}


class FeedForwardHead(nn.Module):
    """Two fully connected layers with a nonlinearity between them; all outputs share the first.

    Kinds:
        dense: TalTech's, section 3.1: ReLU -> batch norm, then an output layer, or tanh and a linear layer. The first
            is for the categories, the second for the attributes.
        relu: ReLU alone, as the two-layer feed-forward network of Chochlakis et al., section 3.1, whose nonlinearity
            is not published
        tanh: tanh alone, as de Oliveira et al., section 2
        linear: no first layer: outputs of the pooled vector, which is the embedding

    The embedding is TalTech's "output of the first dense layer following the pooling layer". The paper does not say on
    which side of the ReLU: here it is the dense layer's own output, before ReLU and batch norm, which suits the linear
    discriminants that read it (no half-space is cut off). For attributes the softmax layer is "replaced with a tanh
    nonlinearity, followed by an additional linear layer", which is read as batch norm -> tanh -> linear.

    Beyond TalTech: the speaker's gender and the sentiment, linear layers on the vector that the categories read, for
    training only.

    Args:
        width_in: of the pooled vectors
        width: of the first layer, which is the embedding's; not read by linear
        n_labels: logits; 0 for none
        n_attributes: attributes; 0 for none
        dropout: behind the first layer, in [0, 1)
        gender: whether there are logits of the speaker's gender
        sentiment: whether there are logits of the sentiment
        kind: dense, relu, tanh or linear
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        n_labels: int,
        n_attributes: int,
        dropout: float = 0.0,
        gender: bool = False,
        sentiment: bool = False,
        kind: str = "dense",
    ) -> None:
        super().__init__()
        width = width_in if kind == "linear" else width
        self.dense = nn.Identity() if kind == "linear" else nn.Linear(width_in, width)
        self.norm = nn.BatchNorm1d(width) if kind == "dense" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.emotion = nn.Linear(width, n_labels) if n_labels else None
        self.attributes = nn.Linear(width, n_attributes) if n_attributes else None
        self.gender = nn.Linear(width, len(GENDERS)) if gender else None
        self.sentiment = nn.Linear(width, N_SENTIMENTS) if sentiment else None
        self.width = width
        self.kind = kind

    def forward(self, pooled: Tensor) -> dict[str, Tensor]:
        """Return ``embedding`` and, where the head has them, ``logits``, ``attributes``, ``gender`` and ``sentiment``.

        Args:
            pooled: shape ``(batch, width_in)``

        Returns:
            by name, each of shape ``(batch, n)``: ``embedding`` of ``width``, ``logits`` of ``n_labels``,
            ``attributes`` of ``n_attributes``, ``gender`` of 2, ``sentiment`` of 3
        """
        embedding = self.dense(pooled)
        hidden = self.dropout(self._normed(NONLINEARITIES[self.kind](embedding)))
        outputs = {"embedding": embedding}
        if self.emotion is not None:
            outputs["logits"] = self.emotion(hidden)
        if self.attributes is not None:
            outputs["attributes"] = self.attributes(torch.tanh(hidden) if self.kind == "dense" else hidden)
        if self.gender is not None:
            outputs["gender"] = self.gender(hidden)
        if self.sentiment is not None:
            outputs["sentiment"] = self.sentiment(hidden)
        return outputs

    def _normed(self, hidden: Tensor) -> Tensor:
        return batch_normed(hidden, self.norm) if isinstance(self.norm, nn.BatchNorm1d) else hidden


def build(
    settings: HeadSettings,
    width_in: int,
    n_labels: int,
    n_attributes: int,
    gender: bool = False,
    sentiment: bool = False,
) -> FeedForwardHead:
    """Return the head that the settings choose.

    Args:
        settings: kind, width and dropout
        width_in: of the pooled vectors
        n_labels: logits; 0 for none
        n_attributes: attributes; 0 for none
        gender: whether there are logits of the speaker's gender
        sentiment: whether there are logits of the sentiment

    Raises:
        ValueError: the kind is the text model's own classification class, which takes no pooled vectors
    """
    if settings.kind == "sequence_classification":
        raise ValueError("head.kind 'sequence_classification' is a whole network, not a head of vectors")
    return FeedForwardHead(
        width_in, settings.width, n_labels, n_attributes, settings.dropout, gender, sentiment, settings.kind
    )
