"""The convolutional network for sentences of Kim 2014 (arXiv:1408.5882).

A filter of width h looks at h neighbouring vectors, c_t = relu(w . x_{t:t+h-1} + b), and what is
kept of it is its largest value over the document, max_t c_t. Documents are padded with h_max - 1
zero vectors on either side, as in Kim's code; padding that a batch adds counts for nothing.

Shapes: B batch, T time, D input size, F filters of a width, H output size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.models.document_models import DocumentModel
from lm_research.models.lengths import check_lengths, zero_padding


class KimCNN(DocumentModel):
    """y_BH, the F largest values of each width's filters, H = widths * F, with dropout.

    Args:
        input_size: D.
        widths: h of the filters.
        filters: F, of each width.
        dropout: probability of dropping an entry of y.
        max_norm: rows of the output layer longer than this are scaled back to it after each step;
            None: never.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        widths: list[PositiveInt] | None = None,
        filters: PositiveInt = 100,
        dropout: DropProbability = 0.5,
        max_norm: PositiveFloat | None = 3.0,
    ) -> None:
        super().__init__()
        widths = widths or [3, 4, 5]
        self.convolutions = nn.ModuleList(nn.Conv1d(input_size, filters, h) for h in widths)
        self.padding = max(widths) - 1
        self.dropout = nn.Dropout(dropout)
        self.output_size, self.head_max_norm = filters * len(widths), max_norm

    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """See :class:`DocumentModel`."""
        check_lengths(lengths_B, x_BTD)
        x_BDT = zero_padding(x_BTD, lengths_B).transpose(1, 2)
        x_BDS = F.pad(x_BDT, (self.padding, self.padding))
        found = [
            _largest(layer(x_BDS).relu(), x_BTD.shape[1], lengths_B) for layer in self.convolutions
        ]
        return self.dropout(torch.cat(found, dim=-1))


def _largest(c_BFS: Tensor, steps: int, lengths_B: Tensor) -> Tensor:
    """Over the windows that each document would have alone, of a batch of ``steps`` tokens."""
    more = c_BFS.shape[-1] - steps  # windows than tokens, in every document
    ends_B1 = lengths_B.to(c_BFS.device)[:, None] + more
    none_BS = torch.arange(c_BFS.shape[-1], device=c_BFS.device) >= ends_B1
    # relu leaves nothing below zero, so that zero never wins over a window that is there.
    return c_BFS.masked_fill(none_BS[:, None], 0.0).amax(-1)
