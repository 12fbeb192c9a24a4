"""Schedules against torch's own where they coincide."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

from lm_research.tasks.schedules import (
    Constant,
    Cosine,
    Linear,
    Schedule,
    SlantedTriangular,
    Stepped,
)


def rates(make: object, steps: int) -> list[float]:
    """The rates of ``steps`` updates under a scheduler of torch's, from a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler: LRScheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


floors = pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])


@floors
def test_cosine_is_torchs(floor: float) -> None:
    expected = rates(lambda o: CosineAnnealingLR(o, 40, eta_min=floor), 41)
    schedule = Cosine(40, floor=floor)
    # torch multiplies rates step by step: its own rounding grows with the steps.
    assert [schedule(t) for t in range(41)] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@floors
def test_linear_is_torchs(floor: float) -> None:
    expected = rates(lambda o: LinearLR(o, 1.0, floor, total_iters=40), 60)
    schedule = Linear(40, floor=floor)
    assert [schedule(t) for t in range(60)] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_warm_up_is_torchs_linear_one() -> None:
    def make(optimizer: torch.optim.Optimizer) -> LRScheduler:
        warmup = LinearLR(optimizer, 1 / 8, 1.0, total_iters=7)
        cosine = CosineAnnealingLR(optimizer, 32)
        return SequentialLR(optimizer, [warmup, cosine], milestones=[8])

    schedule = Cosine(40, warmup_steps=8)
    found = [schedule(t) for t in range(40)]
    assert found == pytest.approx(rates(make, 40), rel=1e-12, abs=1e-12)
    assert found[0] == 1 / 8
    assert found[7] == found[8] == 1.0


def test_stepped_is_torchs_and_does_not_depend_on_the_length() -> None:
    expected = rates(lambda o: MultiStepLR(o, [9, 13, 17, 21], gamma=0.5), 24)
    for steps in (24, 1000, 5):
        schedule = Stepped(steps, hold_steps=9, every_steps=4, factor=0.5)
        assert [schedule(t) for t in range(24)] == pytest.approx(expected, rel=1e-12)
    assert schedule.shape(0.0) == 1.0
    warm = Stepped(24, 9, 4, warmup_steps=4)
    assert [warm(t) for t in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_constant_rate() -> None:
    assert {Constant(10)(t) for t in range(20)} == {1.0}
    assert [Constant(10, warmup_steps=4)(t) for t in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@given(
    st.sampled_from([Constant, Cosine, Linear]), st.integers(1, 200), st.integers(0, 300), st.data()
)
def test_every_rate_is_within_zero_and_one(kind: type, steps: int, warmup: int, data) -> None:
    schedule: Schedule = kind(steps, warmup_steps=warmup)
    found = [schedule(t) for t in range(steps + 5)]
    assert all(math.isfinite(rate) and -1e-15 <= rate <= 1 for rate in found)
    peak = min(warmup, steps)
    assert found[max(peak - 1, 0)] == 1.0
    assert found[:peak] == sorted(found[:peak])
    assert found[peak:] == sorted(found[peak:], reverse=True)


def test_slanted_triangular_is_the_papers_formula() -> None:
    """Howard & Ruder 2018, equation 3, as it is written there."""
    total, share, ratio, highest = 200, 0.1, 32, 0.01
    cut = math.floor(total * share)
    schedule = SlantedTriangular(total, cut_fraction=share, ratio=ratio)
    for t in range(total):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / share - 1))
        expected = highest * (1 + p * (ratio - 1)) / ratio
        assert highest * schedule(t) == pytest.approx(expected, rel=1e-12)
    assert schedule(0) == pytest.approx(1 / 32)
    assert max(map(schedule, range(total))) == schedule(cut) == 1
    assert all(0 < SlantedTriangular(n)(n) <= 1 for n in (1, 2, 9, 10, 11))
