"""From one output a step to one vector a document.

Shapes: B batch, T time, H output size.
"""

from typing import Literal

import torch
from torch import Tensor, nn

PoolingKind = Literal["last", "mean", "max", "attention"]


class Pooling(nn.Module):
    """y_BTH, lengths_B -> v_BH over the first ``lengths_B[b]`` steps of row b.

    last: y at the last step. mean, max: over the steps. attention: the mean of y_t weighed by
    softmax_t(u . tanh(W y_t + b)), with learned W (H x H), b and u (Yang et al. 2016, "Hierarchical
    Attention Networks").
    """

    def __init__(self, kind: PoolingKind, size: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.key, self.query = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def forward(self, y_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """v_BH."""
        lengths_B = lengths_B.to(y_BTH.device)
        if self.kind == "last":
            return y_BTH[torch.arange(y_BTH.shape[0], device=y_BTH.device), lengths_B - 1]
        none_BT1 = (torch.arange(y_BTH.shape[1], device=y_BTH.device) >= lengths_B[:, None])[
            ..., None
        ]
        if self.kind == "max":
            return y_BTH.masked_fill(none_BT1, -torch.inf).amax(1)
        if self.kind == "mean":
            return y_BTH.masked_fill(none_BT1, 0.0).sum(1) / lengths_B[:, None]
        score_BT1 = self.query(self.key(y_BTH).tanh()).masked_fill(none_BT1, -torch.inf)
        return (score_BT1.softmax(1) * y_BTH).sum(1)
