"""The character-level convolutional network of Zhang, Zhao and LeCun 2015 (arXiv:1509.01626).

Six convolutions without padding, of widths 7, 7, 3, 3, 3, 3, with relu; after the first, second and
last of them the largest of three neighbours is kept; then two fully connected layers with relu and
dropout. A text is read backwards, its last character first, and has ``length`` of them: shorter
ones are filled up with zeros, of longer ones the last characters count.

Shapes: B batch, T time, D input size, F filters, L length, H output size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import (
    DropProbability,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from lm_research.models.document_models import DocumentModel
from lm_research.models.lengths import check_lengths

WIDTHS = (7, 7, 3, 3, 3, 3)
POOLED = (0, 1, 5)
"""Convolutions that a pooling of 3 follows."""
POOL = 3


class CharCNN(DocumentModel):
    """y_BH of a document's vectors; see above.

    Args:
        input_size: D.
        hidden_size: H, of both fully connected layers; 1024 in the paper's small network, 2048 in
            its large one.
        filters: F, of each convolution; 256 or 1024.
        length: L, characters that are read; 1014 in the paper.
        unread: of x_t's entries the first so many count for nothing: of one-hot vectors those of
            the separator and of unknown characters, 2, which have no vector in the paper.
        dropout: probability of dropping an entry of each fully connected layer's output.
        deviation: of N(0, deviation^2), from which all weights and biases are drawn; 0.05 in the
            paper's small network, 0.02 in its large one.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt = 1024,
        filters: PositiveInt = 256,
        length: PositiveInt = 1014,
        unread: NonNegativeInt = 0,
        dropout: DropProbability = 0.5,
        deviation: PositiveFloat = 0.05,
    ) -> None:
        super().__init__()
        steps = steps_of(length)
        if steps < 1 or unread >= input_size:
            raise ValueError(
                f"length={length}, unread={unread}: the convolutions leave {steps} places and "
                f"{input_size - unread} entries are read; length is at least {_shortest()}, and "
                f"unread less than {input_size}"
            )
        self.length, self.unread, self.output_size = length, unread, hidden_size
        sizes = [input_size - unread, *[filters] * len(WIDTHS)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, outputs, width)
            for inputs, outputs, width in zip(sizes[:-1], sizes[1:], WIDTHS, strict=True)
        )
        self.first = nn.Linear(steps * filters, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=deviation)

    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """See :class:`DocumentModel`."""
        check_lengths(lengths_B, x_BTD)
        y_BFL = self._backwards(x_BTD, lengths_B).transpose(1, 2)
        for number, convolution in enumerate(self.convolutions):
            y_BFL = convolution(y_BFL).relu()
            if number in POOLED:
                y_BFL = F.max_pool1d(y_BFL, POOL)
        y_BK = y_BFL.transpose(1, 2).flatten(1)
        y_BH = self.dropout(self.first(y_BK).relu())
        return self.dropout(self.second(y_BH).relu())

    def _backwards(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """x_BLD of the last ``length`` steps of each row, the last one first."""
        place_L = torch.arange(self.length, device=x_BTD.device)
        place_BL1 = (lengths_B.to(x_BTD.device)[:, None] - 1 - place_L)[..., None]
        read_BTD = x_BTD[..., self.unread :]
        taken_BLD = read_BTD.gather(1, place_BL1.clamp(min=0).expand(-1, -1, read_BTD.shape[2]))
        return taken_BLD.masked_fill(place_BL1 < 0, 0.0)


def steps_of(length: int) -> int:
    """Places that the last pooling leaves of ``length`` characters: (L - 96) / 27, rounded down."""
    for number, width in enumerate(WIDTHS):
        length = length - width + 1
        length = length // POOL if number in POOLED else length
    return length


def _shortest() -> int:
    """The fewest characters of which the last pooling leaves a place."""
    length = 1
    for number in reversed(range(len(WIDTHS))):
        length = (length * POOL if number in POOLED else length) + WIDTHS[number] - 1
    return length
