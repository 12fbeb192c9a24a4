"""Every branch of a verdict, on numbers whose intervals are known."""

import math

import pytest
from scipy import stats

from lm_research.analysis.verdicts import Claim, allowed, judge, judge_course

EXACT = Claim(148.3, 0.05, minimize=True, deterministic=True)
LOSS = Claim(100.0, 1.0, minimize=True)
ACCURACY = Claim(78.0, 1.0, minimize=False)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (148.281, "reproduced"),
        (148.25, "reproduced"),  # the very edge, which binary fractions miss
        (148.35, "reproduced"),
        (148.2499, "better"),
        (150.60, "worse"),  # one discount an order
    ],
)
def test_a_deterministic_method_is_judged_by_its_value(value, state):
    verdict = judge([value], EXACT)
    assert verdict.state == state
    assert verdict.estimate.low is None
    assert "deterministic" in verdict.why
    assert verdict.good == (state != "worse")


def test_a_deterministic_method_that_is_none():
    with pytest.raises(ValueError, match="differ"):
        judge([1.0, 1.1], EXACT)
    assert judge([148.3, 148.3], EXACT).estimate.n == 1


@pytest.mark.parametrize(
    ("values", "claim", "state"),
    [
        ([100.5, 100.6, 100.7], LOSS, "reproduced"),
        ([101.2, 101.4, 101.6], LOSS, "reproduced"),  # the interval meets 101
        ([103.0, 103.1, 103.2], LOSS, "worse"),
        ([97.0, 97.1, 97.2], LOSS, "better"),
        ([81.0, 81.1, 81.2], ACCURACY, "better"),
        ([75.0, 75.1, 75.2], ACCURACY, "worse"),
    ],
)
def test_the_interval_meets_the_published_value_or_does_not(values, claim, state):
    verdict = judge(values, claim)
    assert verdict.state == state
    low, high = stats.t.interval(0.95, 2, sum(values) / 3, stats.sem(values))
    assert (verdict.estimate.low, verdict.estimate.high) == pytest.approx((low, high))
    meets = low <= claim.published + 1 and high >= claim.published - 1
    assert meets == (state == "reproduced")


def test_one_seed_has_no_interval():
    assert judge([100.9], LOSS).state == "reproduced"
    assert judge([101.1], LOSS).state == "worse"
    assert "one seed" in judge([100.9], LOSS).why


def test_an_interval_that_meets_anything_reproduces_nothing():
    assert judge([102.0, 104.0], LOSS).state == "not comparable"  # ± 12.7
    assert "more seeds" in judge([102.0, 104.0], LOSS).why
    assert judge([99.0, 101.5], LOSS).state == "reproduced"  # wide, but the mean itself agrees


def test_no_results_and_other_things_get_no_verdict():
    assert judge([], LOSS).state == "no verdict"
    verdict = judge([100.0], LOSS, incomparable="another model")
    assert (verdict.state, verdict.why, verdict.good) == ("not comparable", "another model", False)
    with pytest.raises(ValueError, match="finite"):
        judge([math.nan], LOSS)


def test_the_tolerance_is_capped_by_the_papers_spread_or_three_of_ours():
    claim = Claim(38.1, 2.0, minimize=False, spread=0.8)
    assert allowed(claim, None) == 0.8
    assert allowed(claim, 0.1) == 0.8
    assert allowed(claim, 0.4) == pytest.approx(1.2)
    assert allowed(claim, 5.0) == 2.0  # never wider than declared
    assert allowed(Claim(38.1, 2.0, minimize=False), 0.1) == 2.0
    assert judge([36.5], claim).state == "worse"


CURVE = {929_589: 181.7, 1_859_178: 143.5}


def test_a_partial_budget_is_on_course_or_off_and_never_reproduced():
    assert judge_course({929_600: [182.0]}, CURVE, 0.05).state == "on course"
    assert judge_course({929_600: [200.0]}, CURVE, 0.05).state == "off course"
    assert judge_course({929_600: [150.0]}, CURVE, 0.05).state == "off course"
    assert judge_course({100_000: [500.0]}, CURVE, 0.05).state == "no verdict"
    assert judge_course({}, {}, 0.05).state == "no verdict"
    both = {929_600: [200.0], 1_859_200: [143.0, 144.0]}
    verdict = judge_course(both, CURVE, 0.05)
    assert verdict.state == "off course"
    assert "929,589" in verdict.why
    assert not any(judge_course(v, CURVE, 0.05).good for v in ({929_600: [182.0]}, both))
