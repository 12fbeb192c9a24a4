"""Next-token scores that add up over windows, devices and processes.

Shapes: N predictions, V vocabulary.
"""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class NextTokenScores(Metric):
    """Negative log-likelihood, accuracy, top-5 accuracy, macro precision, recall and F1.

    Three integer counts per class are enough (true positives, predictions, occurrences), so memory
    is linear in V. For single-label prediction the micro averages all equal accuracy; the macro
    averages are taken over the classes that occur among the targets (support >= 1), with 0/0 = 0,
    and macro F1 is the mean of the classes' F1 (scikit-learn's convention), not F1 of the means.
    Without any prediction every score is NaN.

    Args:
        vocabulary_size: V.
        sync_on_compute: add up the processes' counts. False where each process sees everything:
            the counts are on the CPU, where NCCL cannot add them.
    """

    full_state_update = False
    nats: Tensor
    count: Tensor
    in_top5: Tensor
    true_positives_V: Tensor
    predicted_V: Tensor
    occurred_V: Tensor

    def __init__(self, vocabulary_size: int, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.vocabulary_size = vocabulary_size
        for name in ("nats", "count", "in_top5"):
            kind = torch.float64 if name == "nats" else torch.int64
            self.add_state(name, torch.zeros((), dtype=kind), dist_reduce_fx="sum")
        for name in ("true_positives_V", "predicted_V", "occurred_V"):
            self.add_state(
                name, torch.zeros(vocabulary_size, dtype=torch.int64), dist_reduce_fx="sum"
            )

    def update(self, log_p_NV: Tensor, targets_N: Tensor) -> None:
        """Add N predictions: log-probabilities (nats) and the ids that came."""
        self.nats -= log_p_NV.gather(1, targets_N[:, None]).sum(dtype=torch.float64)
        self.count += targets_N.numel()
        top_N5 = log_p_NV.topk(min(5, self.vocabulary_size), dim=1).indices
        hits_N5 = top_N5 == targets_N[:, None]
        self.in_top5 += hits_N5.any(1).sum()
        size = self.vocabulary_size
        self.true_positives_V += torch.bincount(targets_N[hits_N5[:, 0]], minlength=size)
        self.predicted_V += torch.bincount(top_N5[:, 0], minlength=size)
        self.occurred_V += torch.bincount(targets_N, minlength=size)

    def compute(self) -> dict[str, float]:
        """``loss_nats`` (mean), ``accuracy``, ``accuracy_top5``, ``{precision,recall,f1}_macro``.

        All are floats within [0, 1] but the loss.
        """
        total = float(self.count) or math.nan
        present = self.occurred_V > 0
        hits = self.true_positives_V[present].double()
        predicted, occurred = self.predicted_V[present].double(), self.occurred_V[present].double()
        precision = hits / predicted.clamp(min=1)
        recall = hits / occurred
        f1 = 2 * hits / (predicted + occurred)
        return {
            "loss_nats": float(self.nats) / total,
            "accuracy": float(self.true_positives_V.sum()) / total,
            "accuracy_top5": float(self.in_top5) / total,
            "precision_macro": float(precision.mean()),
            "recall_macro": float(recall.mean()),
            "f1_macro": float(f1.mean()),
        }
