import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lm_research.analysis.statistics import (
    Estimate,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    holm_defined,
    mean,
    paired_difference,
    sign_flip_test,
    small_sample_correction,
    standard_deviation,
    t_interval,
    t_test,
)

FINITE = st.floats(-1e3, 1e3)
SAMPLES = st.lists(FINITE, min_size=2, max_size=12)


@given(SAMPLES)
def test_mean_and_deviation_are_numpys(values: list[float]) -> None:
    assert mean(values) == pytest.approx(np.mean(values), abs=1e-9)
    spread = standard_deviation(values)
    assert spread is not None
    assert spread == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_t_interval_is_scipys(n: int, level: float) -> None:
    values = list(np.random.default_rng(n).normal(2.0, 0.1, n))
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    found = t_interval(values, level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (found.n, found.level) == (n, level)
    assert found.half_width == pytest.approx((expected.high - expected.low) / 2)


def test_two_seeds_have_the_known_multiplier() -> None:
    found = t_interval([1.0, 2.0])
    # t quantile of one degree of freedom: tan(pi (0.975 - 0.5)) = 12.7062
    assert found.half_width == pytest.approx(math.tan(math.pi * 0.475) * 0.5)


def test_one_seed_has_no_interval() -> None:
    found = t_interval([2.0])
    assert (found.mean, found.n, found.sd, found.low, found.half_width) == (
        2.0,
        1,
        None,
        None,
        None,
    )
    assert not found.excludes_zero()
    assert bootstrap_interval([2.0]) == found
    assert t_interval([2.0], 0.9) == bootstrap_interval([2.0], 0.9) == Estimate(2.0, 1, level=0.9)


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [(0.1, 2, True), (0, 2, False), (-1, 1, False), (-2, 0, False), (-2, -0.1, True)],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(
    low: float, high: float, excluded: bool
) -> None:
    assert Estimate((low + high) / 2, 2, 1.0, low, high).excludes_zero() is excluded


def test_equal_values_have_a_spread_of_exactly_zero() -> None:
    found = t_interval([0.1 + 0.2] * 3)
    assert (found.sd, found.low, found.high) == (0.0, 0.1 + 0.2, 0.1 + 0.2)


def test_t_interval_covers_as_often_as_it_says() -> None:
    draws_RN = np.random.default_rng(0).normal(0.0, 1.0, (1500, 3))
    hits = sum(not t_interval(list(x_N)).excludes_zero() for x_N in draws_RN)
    assert hits / 1500 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1500))


def test_bootstrap_of_two_values_is_known() -> None:
    # The mean of two draws from {0, 1} is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    assert (bootstrap_interval([0.0, 1.0], 0.9).low, bootstrap_interval([0.0, 1.0], 0.9).high) == (
        0,
        1,
    )
    middle = bootstrap_interval([0.0, 1.0], 0.4)
    assert middle == Estimate(0.5, 2, math.sqrt(0.5), 0.5, 0.5, 0.4)
    assert bootstrap_interval([0.0, 1.0], resamples=1).n == 2


def test_bootstrap_agrees_with_scipy_and_repeats_itself() -> None:
    values = list(np.random.default_rng(1).lognormal(0.0, 1.0, 30) / 20 + 2)  # skewed
    expected = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    found = bootstrap_interval(values, resamples=20_000, seed=3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found == bootstrap_interval(values, resamples=20_000, seed=3)
    assert found != bootstrap_interval(values, resamples=20_000, seed=4)


@pytest.mark.parametrize(("n", "coverage"), [(2, 0.52), (3, 0.71), (5, 0.84), (10, 0.90)])
def test_the_bootstrap_covers_as_often_as_its_docstring_says(n: int, coverage: float) -> None:
    draws_RN = np.random.default_rng(0).normal(size=(1000, n))
    found = bootstrap_intervals(draws_RN.tolist(), resamples=999)
    hits = np.mean([not estimate.excludes_zero() for estimate in found])
    assert hits == pytest.approx(coverage, abs=3 * math.sqrt(coverage * (1 - coverage) / 1000))


def test_many_bootstraps_agree_with_scipy_where_resamples_tie_with_the_mean() -> None:
    values_SN = np.random.default_rng(1).normal(3.0, 0.006, (60, 3))
    expected = stats.bootstrap(
        (values_SN,), np.mean, axis=1, n_resamples=999, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval  # fmt: skip
    found = bootstrap_intervals(values_SN.tolist(), resamples=999)
    assert [e.low for e in found] == pytest.approx(list(expected.low), abs=1e-12)
    assert [e.high for e in found] == pytest.approx(list(expected.high), abs=1e-12)


def test_many_bootstraps_are_the_single_ones() -> None:
    samples = [[1.0, 2.0, 4.0], [3.0], [5.0, 5.0], [1.0, 0.5], [7.0, 2.0, 2.5]]
    assert bootstrap_intervals(samples) == [bootstrap_interval(values) for values in samples]
    assert bootstrap_intervals(samples)[2] == Estimate(5.0, 2, 0.0, 5.0, 5.0)


def test_the_small_sample_correction_is_that_of_the_control_charts() -> None:
    # Shewhart's tabled c4(m) = E[sd] / sigma of m normal values; J(m) = c4(m) sqrt((m - 1) / m)
    tabled = {2: 0.797885, 3: 0.886227, 4: 0.921318, 5: 0.939986, 10: 0.972659, 25: 0.989640}
    for freedom, c4 in tabled.items():
        expected = c4 * math.sqrt((freedom - 1) / freedom)
        assert small_sample_correction(freedom) == pytest.approx(expected, abs=1e-6)
        assert small_sample_correction(freedom) == pytest.approx(
            1 - 3 / (4 * freedom - 1), abs=0.01
        )
    with pytest.raises(ValueError, match="freedom=1"):
        small_sample_correction(1)


def test_effect_sizes_by_hand() -> None:
    found = paired_difference({1: 3.0, 2: 4.0, 3: 5.0}, {1: 2.0, 2: 2.0, 3: 2.0})  # d = 1, 2, 3
    assert found.d_z == pytest.approx(2.0)
    assert found.hedges_g == pytest.approx(2.0 / math.sqrt(math.pi))  # J(2) = 1 / sqrt(pi)
    assert paired_difference({1: 1.0, 2: 3.0}, {1: 0.0, 2: 0.0}).hedges_g is None
    assert paired_difference({1: 1.0, 2: 1.0, 3: 1.0}, {1: 0.0, 2: 0.0, 3: 0.0}).d_z is None


def test_hedges_g_is_unbiased() -> None:
    """Over many samples of five pairs its mean is the true effect; that of d_z is not."""
    d_RN = np.random.default_rng(0).normal(0.8, 1.0, (20_000, 5))
    d_z_R = d_RN.mean(1) / d_RN.std(1, ddof=1)
    bound = 4 * d_z_R.std() / math.sqrt(20_000)
    assert small_sample_correction(4) * d_z_R.mean() == pytest.approx(0.8, abs=bound)
    assert d_z_R.mean() > 0.8 + bound


def test_paired_difference_is_scipys() -> None:
    rng = np.random.default_rng(2)
    first = dict(enumerate(rng.normal(2.0, 0.1, 7)))
    second = dict(enumerate(rng.normal(2.05, 0.1, 7)))
    found = paired_difference(first, second)
    expected = stats.ttest_rel(list(first.values()), list(second.values()))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    for level in (0.95, 0.8):
        interval = expected.confidence_interval(level)
        ours = paired_difference(first, second, level).estimate
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
        assert ours.level == level
    assert found.p_permutation is not None


def test_six_shared_seeds_are_enough_for_sign_flips() -> None:
    first, second = {s: float(s + 1) for s in range(6)}, dict.fromkeys(range(6), 0.0)
    assert paired_difference(first, second).p_permutation == 2 / 2**6


def test_pairing_uses_the_shared_seeds_alone() -> None:
    found = paired_difference({1: 3.0, 2: 4.0, 9: 100.0}, {2: 1.0, 1: 1.0, 5: 7.0})
    assert found.seeds == (1, 2)
    assert found.estimate.mean == 2.5
    assert found.p_permutation is None  # two pairs cannot reach p < 0.05
    with pytest.raises(ValueError, match="no shared seed"):
        paired_difference({1: 1.0}, {2: 1.0})


def test_one_shared_seed_is_no_test() -> None:
    found = paired_difference({1: 2.0}, {1: 1.5})
    assert (found.estimate.mean, found.estimate.low, found.p) == (0.5, None, None)


def test_differences_without_noise() -> None:
    assert t_test([0.25, 0.25]) == 0.0
    assert t_test([0.0, 0.0, 0.0]) == 1.0
    assert t_test([1.0]) is None


@pytest.mark.parametrize("n", [6, 9, 14])
def test_sign_flips_are_scipys(n: int) -> None:
    differences = list(np.random.default_rng(n).normal(0.3, 1.0, n))
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=2**n
    )
    assert sign_flip_test(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_sign_flips_of_one_sided_data_are_known() -> None:
    assert sign_flip_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 2 / 2**6
    assert sign_flip_test([0.1] * 6) == 2 / 2**6
    assert sign_flip_test([0.0] * 6) == 1.0


def test_many_pairs_are_sampled_with_a_seed() -> None:
    differences = list(np.random.default_rng(0).normal(0.4, 1.0, 24))
    exact = float(
        stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=200_000, rng=1
        ).pvalue
    )
    found = sign_flip_test(differences)
    assert found == pytest.approx(exact, abs=0.01)
    assert found == sign_flip_test(differences)
    assert sign_flip_test([1.0] * 40) == 1 / 20_001  # no pattern drawn is as far from 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm_defined([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_keeps_order_and_bounds(p_values: list[float], random) -> None:
    adjusted = holm(p_values)
    m = len(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, m * p)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [q for _, q in pairs] == sorted(adjusted)
    order = list(range(m))
    random.shuffle(order)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize("function", [t_interval, bootstrap_interval, sign_flip_test])
@pytest.mark.parametrize(
    ("values", "message"),
    [([], "no values"), ([math.nan], "must be finite"), ([1.0, math.inf], "must be finite")],
)
def test_values_that_cannot_be_averaged_are_refused(
    function: Any, values: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(values)


def test_resampling_repeats_itself_from_report_to_report() -> None:
    values = list(np.random.default_rng(0).normal(0.4, 1.0, 20))
    assert bootstrap_interval(values) == bootstrap_interval(values, resamples=10_000, seed=0)
    assert sign_flip_test(values) == sign_flip_test(values, samples=20_000, seed=0)
    assert sign_flip_test(values) != sign_flip_test(values, seed=1)


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="mean of no values"):
        mean([])
    for level in (-0.1, 0, 1, 1.5, 95):
        with pytest.raises(ValueError, match=f"level={level}: must lie in"):
            t_interval([1.0, 2.0], level)
    with pytest.raises(ValueError, match="resamples=0"):
        bootstrap_interval([1.0, 2.0], resamples=0)
