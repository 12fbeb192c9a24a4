"""Which tokens a sampled loss takes for the others.

Shapes: S candidates, V vocabulary.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from lm_research.tasks.output_layers.output_layer import OutputSpec

Proposal = Literal["unigram", "log_uniform"]


class Candidates(nn.Module):
    """A set of tokens in which each occurs with a probability of its own, whatever the others.

    That is Poisson sampling: token v is in the set with probability pi_v = min(1, c q_v), with c
    such that the expected size is ``samples``. Every proposal q is over ranks of frequency:

        unigram      q_v ~ (count_v + 1)^alpha
        log_uniform  q_v ~ log((r_v + 2) / (r_v + 1)), r_v = 0, 1, ... the rank

    With ``samples`` >= V every pi is 1, and the set is the vocabulary. No token is drawn twice, so
    that none of the work is done twice. The draws are of PyTorch's generator on the device, which
    checkpoints keep.

    The probabilities follow from the training tokens and are no part of the state: what a model
    says does not depend on them.
    """

    pi_V: Tensor
    log_pi_V: Tensor

    def __init__(self, spec: OutputSpec, samples: int, proposal: Proposal, alpha: float) -> None:
        super().__init__()
        pi_V = inclusion(_proposed(spec, proposal, alpha), samples)
        self.register_buffer("pi_V", pi_V, persistent=False)
        self.register_buffer("log_pi_V", pi_V.log(), persistent=False)

    def draw(self) -> Tensor:
        """ids_S: int64, rising, each once."""
        drawn_V = torch.rand(len(self.pi_V), device=self.pi_V.device) < self.pi_V
        return drawn_V.nonzero()[:, 0]


def _proposed(spec: OutputSpec, proposal: Proposal, alpha: float) -> Tensor:
    """q_V, not normalised, float64."""
    found_V = spec.frequencies()
    if proposal == "unigram":
        return (found_V + (spec.counts_V is not None)) ** alpha
    rank_V = found_V.argsort(descending=True, stable=True).argsort().double()
    return ((rank_V + 2) / (rank_V + 1)).log()


def inclusion(q_V: Tensor, samples: float) -> Tensor:
    """pi_V = min(1, c q_V) whose sum is min(samples, V).

    Args:
        q_V: greater than 0, of any sum.
    """
    size = len(q_V)
    if samples >= size:
        return torch.ones_like(q_V)
    falling_V, order_V = q_V.sort(descending=True)
    # With the first k at 1, c = (samples - k) / (sum of the others); k is right when c q_k < 1.
    rest_V = falling_V.flip(0).cumsum(0).flip(0)
    scale_V = (samples - torch.arange(size)) / rest_V
    k = int((scale_V * falling_V >= 1).cumprod(0).sum())
    pi_V = (falling_V * scale_V[k]).clamp(max=1)
    pi_V[:k] = 1
    return torch.empty_like(q_V).scatter_(0, order_V, pi_V)
