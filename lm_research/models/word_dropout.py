"""Word dropout: whole tokens of a document are left out, not entries of their vectors.

Shapes: B documents, T tokens of the longest.
"""

import torch
from torch import Tensor


def drop_words(ids_BT: Tensor, lengths_B: Tensor, p: float, padding: int) -> tuple[Tensor, Tensor]:
    """Each document's tokens but those dropped, moved together, and how many are left.

    Every token is dropped with probability ``p``, by itself (Iyyer et al. 2015, "Deep Unordered
    Composition", r_w ~ Bernoulli); a mean is then one over the tokens that are left, so that
    nothing is scaled. A document that would lose all of them keeps all, as in the authors' code.

    Args:
        ids_BT: int64.
        lengths_B: int64, at least 1; what lies behind is no token.
        p: within [0, 1).
        padding: the id behind a document's end.
    """
    steps_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    here_BT = steps_T < lengths_B.to(ids_BT.device)[:, None]
    kept_BT = here_BT & (torch.rand(ids_BT.shape, device=ids_BT.device) >= p)
    kept_BT = torch.where(kept_BT.any(1, keepdim=True), kept_BT, here_BT)
    order_BT = (~kept_BT).to(torch.int8).argsort(dim=1, stable=True)
    left_B = kept_BT.sum(1)
    moved_BT = ids_BT.gather(1, order_BT)[:, : int(left_B.max())]
    behind_BT = steps_T[: moved_BT.shape[1]] >= left_B[:, None]
    return moved_BT.masked_fill(behind_BT, padding), left_B.to(lengths_B.device)
