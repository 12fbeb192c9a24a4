from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.vectorizers.vectorizer import NOTHING
from lm_research.vectorizers.window import (
    dense_bag,
    distinct,
    look_up,
    projected_bag,
    running_sum,
    windows,
)


def test_windows_hold_the_last_tokens_oldest_first() -> None:
    window_BTn = windows(torch.tensor([[5, 6, 7, 8]]), 3)
    assert window_BTn.tolist() == [[[NOTHING, NOTHING, 5], [NOTHING, 5, 6], [5, 6, 7], [6, 7, 8]]]


@settings(deadline=None)
@given(st.lists(st.sampled_from([NOTHING, 0, 1, 2, 3]), min_size=1, max_size=20))
def test_distinct_counts_each_token_once(ids: list[int]) -> None:
    sorted_ids, counts = distinct(torch.tensor(ids))
    found = {int(i): float(c) for i, c in zip(sorted_ids, counts, strict=True) if c}
    assert found == Counter(id for id in ids if id != NOTHING)


def test_bags_add_up_the_weights_of_one_token() -> None:
    ids, weights = torch.tensor([[2, NOTHING, 2, 0]]), torch.tensor([[1.0, 50.0, 0.5, 3.0]])
    assert dense_bag(ids, weights, 4).tolist() == [[3.0, 0.0, 1.5, 0.0]]
    table_VP = torch.randn(4, 6)
    torch.testing.assert_close(
        projected_bag(ids, weights, table_VP)[0], 3 * table_VP[0] + 1.5 * table_VP[2]
    )


def test_a_projected_bag_has_the_table_s_precision() -> None:
    ids, weights = torch.tensor([[2, NOTHING, 0]]), torch.tensor([[1.0, 50.0, 3.0]])
    table_VP = torch.randn(4, 6, dtype=torch.float64)
    found = projected_bag(ids, weights, table_VP)[0]
    torch.testing.assert_close(found, 3 * table_VP[0] + table_VP[2])


def test_look_up_is_zero_where_there_is_no_token_and_no_gradient_flows_there() -> None:
    table_VP = torch.randn(3, 2, requires_grad=True)
    rows = look_up(torch.tensor([[NOTHING, 2]]), table_VP)
    assert torch.equal(rows[0], torch.stack([torch.zeros(2), table_VP[2]]))
    rows.sum().backward()
    assert table_VP.grad is not None
    assert table_VP.grad.tolist() == [[0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("window", [1, 2, 3, 5, 7, 8, 13, 64])
@pytest.mark.parametrize("decay", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("steps", [1, 2, 9, 40])
def test_running_sum_is_a_convolution(window: int, decay: float, steps: int) -> None:
    x_BTP = torch.randn(2, steps, 3, dtype=torch.float64)
    kernel = decay ** np.arange(window)
    expected = [
        [np.convolve(series, kernel)[:steps] for series in rows.T] for rows in x_BTP.numpy()
    ]
    y_BTP = running_sum(x_BTP, window, decay)
    np.testing.assert_allclose(y_BTP.mT.numpy(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("window", [2, 5, 8, 16])
def test_running_sum_has_the_right_first_and_second_derivatives(window: int) -> None:
    x_BTP = torch.randn(2, 7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: running_sum(x, window, 0.8), x_BTP)
    assert torch.autograd.gradgradcheck(lambda x: running_sum(x, window, 0.8).square(), x_BTP)


def test_running_sum_does_not_drift_over_a_long_stream() -> None:
    x_BTP = torch.rand(1, 65_536, 2) * 1000
    y_BTP = running_sum(x_BTP, 8)
    assert torch.equal(y_BTP[:, -500:], running_sum(x_BTP[:, -507:], 8)[:, -500:])
    exact = x_BTP.double().unfold(1, 8, 1).sum(-1)
    torch.testing.assert_close(y_BTP[:, 7:].double(), exact, rtol=3e-7, atol=0)
