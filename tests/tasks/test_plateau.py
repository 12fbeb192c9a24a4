"""The plateau schedule against rnnlm's training loop, written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm_research.tasks.plateau import Plateau, set_rates


def rnnlm(losses, factor=0.5, min_improvement=1.003):
    """The rate after each evaluation, and where training ends, by log-likelihoods as in rnnlm."""
    alpha, alpha_divide, before, rates = 1.0, False, -1e8, []
    for loss in losses:
        logp = -loss / math.log(10)
        if logp * min_improvement < before:
            if alpha_divide:
                return rates, True
            alpha_divide = True
        if alpha_divide:
            alpha *= factor
        rates.append(alpha)
        before = logp
    return rates, False


@given(st.lists(st.floats(0.5, 8), min_size=1, max_size=12), st.sampled_from([0.5, 0.25]))
def test_it_is_rnnlms_loop(losses, factor):
    schedule, found = Plateau(100, factor=factor), []
    for loss in losses:
        schedule.observe(loss)
        if schedule.over:
            break
        found.append(schedule(7))
    assert (found, schedule.over) == rnnlm(losses, factor)


def test_without_keeping_on_it_falls_where_the_gain_is_too_little():
    schedule, found = Plateau(100, min_gain=0.0, keep_falling=False, stop=False), []
    for loss in (5.0, 4.0, 4.1, 3.0, 3.0, 3.0001, float("nan"), 2.0):
        schedule.observe(loss)
        found.append(schedule(50))
    # An equal loss is a gain of 0; after one that is no number nothing can be said.
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.125, 0.0625]
    assert not schedule.over


def test_it_warms_up():
    schedule = Plateau(10, warmup_steps=4)
    assert [schedule(t) for t in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_what_it_has_seen_is_in_torchs_state_of_the_scheduler():
    def scheduler(schedule):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)

    one, other = Plateau(10), Plateau(10)
    running, resumed = scheduler(one), scheduler(other)
    for loss in (5.0, 5.0, 4.0):
        one.observe(loss)
    set_rates(running)
    assert running.optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    resumed.load_state_dict(running.state_dict())
    set_rates(resumed)
    assert other.__dict__ == one.__dict__
    assert resumed.optimizer.param_groups[0]["lr"] == running.optimizer.param_groups[0]["lr"]
    for schedule in (one, other):
        schedule.observe(4.0)
        assert schedule.over


def bai(losses, back, factor):
    """The rate after each epoch, as the authors of the TCN have it from their sixth epoch on."""
    rate, rates = 1.0, []
    for number, loss in enumerate(losses):
        if number >= back and loss > max(losses[number - back : number]):
            rate *= factor
        rates.append(rate)
    return rates


@given(st.lists(st.integers(1, 30), min_size=1, max_size=15), st.sampled_from([(3, 0.1), (5, 0.5)]))
def test_it_may_be_compared_with_the_worst_of_several(losses, form):
    back, factor = form
    options = {"keep_falling": False, "stop": False, "min_gain": 0.0}
    schedule, found = Plateau(100, factor=factor, compared=back, **options), []
    for loss in losses:
        schedule.observe(float(loss))
        found.append(schedule(7))
    assert found == pytest.approx(bai(losses, back, factor))
    assert not schedule.over
