"""Losses over a sample of the vocabulary, for W and b of a full softmax.

Shapes: N rows, S candidates, H what the model gives, D what W multiplies, V vocabulary.
"""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.config.types import PositiveInt, Probability
from lm_research.tasks.output_layers.candidates import Candidates, Proposal
from lm_research.tasks.output_layers.linear import LinearOutput
from lm_research.tasks.output_layers.output_layer import OutputSpec


class _OverCandidates(LinearOutput):
    """In training the logits of the targets and of one set of candidates for all rows."""

    needs_counts = True

    def __init__(
        self, spec: OutputSpec, samples: int, proposal: Proposal, alpha: float, name: str
    ) -> None:
        super().__init__(spec)
        if spec.label_smoothing:
            raise ValueError(
                f"task.label_smoothing={spec.label_smoothing}: output_layer={name} computes few "
                "tokens a step, and smoothing asks for all; allowed: 0.0, or output_layer=full"
            )
        self.candidates = Candidates(spec, samples, proposal, alpha)
        size, width = self.weight.shape
        self.training_elements -= (size - 1 - float(self.candidates.pi_V.sum())) * width

    def rows_loss(self, y_NH: Tensor, targets_N: Tensor) -> Tensor:
        """See :class:`OutputLayer`."""
        ids_S = self.candidates.draw()
        y_ND, ids_R = self.project(y_NH), torch.cat([targets_N, ids_S])
        # One look-up of both: the gradient of the whole matrix is written once.
        rows_RD = F.embedding(ids_R, self.weight)
        own_ND, other_SD = rows_RD[: len(targets_N)], rows_RD[len(targets_N) :]
        target_N = (y_ND * own_ND).sum(-1, dtype=_fine(y_ND))
        logits_NS = F.linear(y_ND, other_SD).to(target_N.dtype)
        offset_R = self._offsets(ids_R)
        target_N = target_N + offset_R[: len(targets_N)]
        return self._loss(target_N, logits_NS + offset_R[len(targets_N) :], targets_N, ids_S)

    def _offsets(self, ids_R: Tensor) -> Tensor:
        """b less log pi: what a token's logit has beside its product."""
        log_pi_R = self.candidates.log_pi_V[ids_R]
        return -log_pi_R if self.bias is None else self.bias[ids_R] - log_pi_R

    @abstractmethod
    def _loss(
        self, target_N: Tensor, logits_NS: Tensor, targets_N: Tensor, ids_S: Tensor
    ) -> Tensor:
        """Of logits less log pi: the targets', and the candidates'."""


def _fine(y: Tensor) -> torch.dtype:
    return torch.promote_types(y.dtype, torch.float32)


class Sampled(_OverCandidates):
    """Sampled softmax with the log-q correction.

    The loss of a row with target t is cross-entropy over C = {t} and the candidates:

        -log( exp(o_t - log pi_t) / sum over v in C of exp(o_v - log pi_v) )

    with pi_v the probability of v being a candidate (Bengio & Senecal 2008; Jean et al. 2015,
    https://arxiv.org/abs/1412.2007). t is in C once: where it is drawn, too (an accidental hit),
    the drawn one is left out. As every candidate is drawn independently of the others, p(t | C) is
    exactly this when o is right, so that the full softmax's optimum is this loss's for any number
    of samples; and with all tokens (pi = 1) it is the full softmax's loss. Evaluation is by the
    full softmax.

    Args:
        samples: candidates a step, expected; all tokens from V on.
        proposal: see :class:`~lm_research.tasks.output_layers.candidates.Candidates`.
        alpha: exponent of the counts, for ``unigram``.
    """

    def __init__(
        self,
        spec: OutputSpec,
        samples: PositiveInt = 1024,
        proposal: Proposal = "unigram",
        alpha: Probability = 0.75,
    ) -> None:
        super().__init__(spec, samples, proposal, alpha, "sampled")

    def _loss(
        self, target_N: Tensor, logits_NS: Tensor, targets_N: Tensor, ids_S: Tensor
    ) -> Tensor:
        hits_NS = targets_N[:, None] == ids_S
        logits_NS = logits_NS.masked_fill(hits_NS, -math.inf)
        logits_NC = torch.cat([target_N[:, None], logits_NS], 1)
        return F.cross_entropy(logits_NC, torch.zeros_like(targets_N))


class NoiseContrastive(_OverCandidates):
    """Noise-contrastive estimation (Mnih & Teh 2012, https://arxiv.org/abs/1206.6426).

    A row's target is told from noise by how much more probable the model finds it: with s_v the
    model's log-probability, not normalised, and pi_v the expected number of v among the noise (k
    P_noise(v) of the paper),

        -log sigmoid(s_t - log pi_t) - sum over noise v of log sigmoid(log pi_v - s_v)

    The noise is one set for all rows; each token is in it at most once, which the loss allows for
    as it goes by the expected number alone. A target that is drawn is noise like any other. At the
    optimum s is log p, normalised, for any amount of noise. s_v = o_v - log V, so that a new model
    is about normalised; evaluation is by the full softmax.

    Args:
        samples, proposal, alpha: as of :class:`Sampled`.
    """

    def __init__(
        self,
        spec: OutputSpec,
        samples: PositiveInt = 1024,
        proposal: Proposal = "unigram",
        alpha: Probability = 0.75,
    ) -> None:
        super().__init__(spec, samples, proposal, alpha, "nce")

    def _loss(
        self, target_N: Tensor, logits_NS: Tensor, targets_N: Tensor, ids_S: Tensor
    ) -> Tensor:
        log_size = math.log(len(self.weight))
        noise_N = F.softplus(logits_NS - log_size).sum(1)
        return (F.softplus(log_size - target_N) + noise_N).mean()
