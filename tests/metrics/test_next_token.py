"""Next-token scores against scikit-learn and torchmetrics; sums over windows and processes."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from lm_research.metrics.next_token import NextTokenScores


def predictions(count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """log_p_NV that know something about targets_N; many classes stay without support."""
    generator = torch.Generator().manual_seed(seed)
    logits_NV = torch.randn(count, size, generator=generator, dtype=torch.float64)
    seen = max(size * 2 // 3, 1)
    targets_N = torch.randint(seen, (count,), generator=generator)
    logits_NV[torch.arange(count), targets_N] += 0.7
    return logits_NV.log_softmax(1), targets_N


def scores(*pieces: tuple[Tensor, Tensor]) -> dict[str, float]:
    metric = NextTokenScores(pieces[0][0].shape[1])
    for log_p_NV, targets_N in pieces:
        metric.update(log_p_NV, targets_N)
    return metric.compute()


def oracle(log_p_NV: Tensor, targets_N: Tensor) -> dict[str, float]:
    size = log_p_NV.shape[1]
    guesses, targets = log_p_NV.argmax(1).numpy(), targets_N.numpy()
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, guesses, labels=np.unique(targets), average="macro", zero_division=0
    )
    return {
        "loss_nats": log_loss(targets, log_p_NV.exp().numpy(), labels=range(size)),
        "accuracy": accuracy_score(targets, guesses),
        "accuracy_top5": top_k_accuracy_score(targets, log_p_NV.numpy(), k=5, labels=range(size)),
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
    }


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(6, 60), st.integers(0, 2**31))
def test_the_scores_are_those_of_scikit_learn(count: int, size: int, seed: int) -> None:
    given = predictions(count, size, seed)
    # Two ways of adding up to 300 terms of float64: a few hundred roundings of 1e-16.
    assert scores(given) == pytest.approx(oracle(*given), rel=1e-12, abs=1e-13)


def test_the_accuracies_are_those_of_torchmetrics() -> None:
    log_p_NV, targets_N = predictions(500, 40, 3)
    found = scores((log_p_NV, targets_N))
    for name, k in (("accuracy", 1), ("accuracy_top5", 5)):
        theirs = MulticlassAccuracy(40, top_k=k, average="micro")(log_p_NV, targets_N)
        assert found[name] == pytest.approx(float(theirs), rel=1e-6)  # theirs is float32


def test_a_case_by_hand() -> None:
    # Guesses 0 0 1 2 0, targets 0 1 1 1 0; class 2 has no support, class 3 never occurs.
    guesses, targets_N = [0, 0, 1, 2, 0], torch.tensor([0, 1, 1, 1, 0])
    log_p_NV = torch.full((5, 4), math.log(0.1))
    log_p_NV[range(5), guesses] = math.log(0.7)
    found = scores((log_p_NV, targets_N))
    assert found["accuracy"] == 3 / 5
    assert found["precision_macro"] == pytest.approx((2 / 3 + 1) / 2, rel=1e-15)
    assert found["recall_macro"] == pytest.approx((1 + 1 / 3) / 2, rel=1e-15)
    assert found["f1_macro"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 4) / 2, rel=1e-15)
    assert found["accuracy_top5"] == 1.0  # a vocabulary of four: all are among the top five
    assert found["loss_nats"] == pytest.approx(-(3 * math.log(0.7) + 2 * math.log(0.1)) / 5)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(0, 2**31))
def test_pieces_add_up_to_the_whole(cuts: list[int], seed: int) -> None:
    log_p_NV, targets_N = predictions(50, 12, seed)
    bounds = [0, *sorted(cuts), 50]
    pieces = [(log_p_NV[a:b], targets_N[a:b]) for a, b in pairwise(bounds)]
    assert scores(*pieces) == pytest.approx(scores((log_p_NV, targets_N)), rel=1e-14)


def gathered(*metrics: NextTokenScores) -> Any:
    """What a gathering of all processes' states gives, call by call, in the order of the states."""
    names = iter(list(metrics[0]._reductions))

    def gather(state: Tensor, group: Any = None) -> list[Tensor]:
        name = next(names)
        return [getattr(metric, name) for metric in metrics]

    return gather


def test_two_processes_add_up_to_one() -> None:
    log_p_NV, targets_N = predictions(200, 30, 5)
    halves = [NextTokenScores(30) for _ in range(2)]
    halves[0].update(log_p_NV[:70], targets_N[:70])
    halves[1].update(log_p_NV[70:], targets_N[70:])
    halves[0].dist_sync_fn = gathered(*halves)
    halves[0].distributed_available_fn = lambda: True
    assert halves[0].compute() == pytest.approx(scores((log_p_NV, targets_N)), rel=1e-14)
    assert halves[0].count == 70  # each goes on with its own


def test_processes_that_see_everything_need_not_meet() -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("one process waits for the others")

    found = []
    for sync in (False, True):
        metric = NextTokenScores(30, sync_on_compute=sync)
        metric.update(*predictions(50, 30, 5))
        metric.dist_sync_fn, metric.distributed_available_fn = refuse, lambda: True
        found.append(metric)
    assert found[0].compute() == scores(predictions(50, 30, 5))
    with pytest.raises(AssertionError, match="waits"):
        found[1].compute()


def test_counts_stay_exact_where_no_float_would() -> None:
    metric = NextTokenScores(2)
    names = ["count", "in_top5", "true_positives_V", "predicted_V", "occurred_V"]
    for name in names:
        getattr(metric, name).fill_(2**54)  # beyond float64, too
    metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([0, 1]))
    for name in names:
        assert (getattr(metric, name) - 2**54).sum().item() == 2


def test_memory_is_linear_in_the_vocabulary() -> None:
    metric = NextTokenScores(1000)
    metric.update(*predictions(300, 1000, 0))
    assert sum(getattr(metric, name).numel() for name in metric._reductions) == 3 * 1000 + 3


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_prediction_has_no_score() -> None:
    found = NextTokenScores(5).compute()
    assert all(math.isnan(value) for value in found.values())


def test_float32_log_probabilities_are_added_up_in_float64() -> None:
    metric = NextTokenScores(4)
    log_p_NV = torch.full((1000, 4), math.log(0.25))
    for _ in range(200):
        metric.update(log_p_NV, torch.zeros(1000, dtype=torch.int64))
    exactly = -float(log_p_NV[0, 0])
    assert metric.compute()["loss_nats"] == pytest.approx(exactly, rel=1e-12)
