"""From one vector an utterance to what is predicted: ``(batch, width) -> logits, attributes, gender, embedding``."""

import torch
from torch import Tensor, nn

from pipeline_lib.labels import GENDERS


class DenseHead(nn.Module):
    """TalTech's head, section 3.1: dense -> ReLU -> batch norm, then an output layer, or tanh and a linear layer.

    The first is for the categories, the second for the attributes; both are there where both are asked for.

    The embedding is "the output of the first dense layer following the pooling layer". The paper does not say on
    which side of the ReLU: here it is the dense layer's own output, before ReLU and batch norm, which suits the linear
    discriminants that read it (no half-space is cut off). For attributes the softmax layer is "replaced with a tanh
    nonlinearity, followed by an additional linear layer", which is read as batch norm -> tanh -> linear.

    Beyond the paper: the speaker's gender, a linear layer on the vector that the categories read, for training only.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        n_labels: int,
        n_attributes: int,
        dropout: float = 0.0,
        gender: bool = False,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(width_in, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.emotion = nn.Linear(width, n_labels) if n_labels else None
        self.attributes = nn.Linear(width, n_attributes) if n_attributes else None
        self.gender = nn.Linear(width, len(GENDERS)) if gender else None
        self.width = width

    def forward(self, pooled: Tensor) -> dict[str, Tensor]:
        """Return ``embedding`` and, as asked for, ``logits``, ``attributes`` and ``gender``, each ``(batch, n)``."""
        embedding = self.dense(pooled)
        hidden = self.dropout(self.norm(torch.relu(embedding)))
        outputs = {"embedding": embedding}
        if self.emotion is not None:
            outputs["logits"] = self.emotion(hidden)
        if self.attributes is not None:
            outputs["attributes"] = self.attributes(torch.tanh(hidden))
        if self.gender is not None:
            outputs["gender"] = self.gender(hidden)
        return outputs
