"""Optimizers in one pass over a tensor: chosen where PyTorch has them, the same formula."""

import copy

import pytest
import torch
from torch import nn

from lm_research.tasks.fused_step import fused_where_faster
from lm_research.tasks.keras_adam import KerasAdam

ON_CPU = [nn.Parameter(torch.zeros(3))]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, KerasAdam])
def test_it_ends_within_rounding_of_pytorchs_own_choice(kind):
    torch.manual_seed(0)
    plain = nn.LSTM(5, 7)
    fused = copy.deepcopy(plain)
    params = list(fused.parameters())
    more = fused_where_faster(kind, {}, params, scaled=False)
    assert more == {"fused": True}
    one, other = kind(plain.parameters(), lr=0.1), kind(params, lr=0.1, **more)
    for _ in range(20):
        for a, b in zip(plain.parameters(), params, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b in zip(plain.parameters(), params, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_groups_count_like_their_tensors():
    groups = [{"params": ON_CPU}, {"params": ON_CPU, "weight_decay": 0.0}]
    assert fused_where_faster(torch.optim.AdamW, {}, groups, scaled=False) == {"fused": True}


@pytest.mark.parametrize(
    ("kind", "given", "params", "scaled"),
    [
        (torch.optim.Adam, {"fused": False}, ON_CPU, False),
        (torch.optim.Adam, {"foreach": True}, ON_CPU, False),
        (torch.optim.Adam, {}, ON_CPU, True),
        (torch.optim.Adam, {}, [], False),
        (torch.optim.Adam, {}, [nn.Parameter(torch.zeros(3, device="meta"))], False),
        (torch.optim.Adam, {}, [nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))], False),
        (torch.optim.Rprop, {}, ON_CPU, False),
    ],
)
def test_what_was_chosen_stands_and_what_cannot_be_is_not(kind, given, params, scaled):
    assert fused_where_faster(kind, given, params, scaled) == {}
