"""Against R's published analysis of ToothGrowth, statsmodels' type III tables, and hand counts."""

from itertools import product

import numpy as np
import pytest

from lm_research.analysis.factorial import factorial

# R's data set ToothGrowth (Crampton 1947): length of odontoblasts by supplement and dose.
TEETH = {
    ("VC", "0.5"): [4.2, 11.5, 7.3, 5.8, 6.4, 10.0, 11.2, 11.2, 5.2, 7.0],
    ("VC", "1"): [16.5, 16.5, 15.2, 17.3, 22.5, 17.3, 13.6, 14.5, 18.8, 15.5],
    ("VC", "2"): [23.6, 18.5, 33.9, 25.5, 26.4, 32.5, 26.7, 21.5, 23.3, 29.5],
    ("OJ", "0.5"): [15.2, 21.5, 17.6, 9.7, 14.5, 10.0, 8.2, 9.4, 16.5, 9.7],
    ("OJ", "1"): [19.7, 23.3, 23.6, 26.4, 20.0, 25.2, 25.8, 21.2, 14.5, 27.3],
    ("OJ", "2"): [25.5, 26.4, 22.4, 24.5, 24.8, 30.9, 26.4, 27.3, 29.4, 23.0],
}
GRID = list(product(["a1", "a2"], ["b1", "b2", "b3"], ["c1", "c2"]))


def unshared(values):
    """Replicates with names of their own: no block."""
    return {
        cell: {1000 * k + i: y for i, y in enumerate(ys)}
        for k, (cell, ys) in enumerate(values.items())
    }


def by_axes(found):
    return {term.axes: term for term in found.terms}


def test_tooth_growth_is_as_published() -> None:
    """aov(len ~ supp * factor(dose)): F 15.572, 92.000, 4.107; p 0.000231, <2e-16, 0.021860."""
    found = factorial(("supp", "dose"), unshared(TEETH))
    assert not found.seeds_are_blocks
    terms = by_axes(found)
    expected = {
        ("supp",): (1, 15.572, 0.000231), ("dose",): (2, 92.000, 4e-18),
        ("supp", "dose"): (2, 4.107, 0.021860),
    }  # fmt: skip
    for axes, (freedom, f, p) in expected.items():
        assert terms[axes].freedom == (freedom, 54)
        assert terms[axes].f == pytest.approx(f, abs=5e-4)
        assert terms[axes].p == pytest.approx(p, abs=5e-7)
    supp = terms["supp",]
    assert supp.partial_eta == pytest.approx(205.35 / (205.35 + 712.106), abs=1e-4)
    assert [c.levels for c in supp.contrasts] == [("VC",), ("OJ",)]
    assert supp.contrasts[1].effect.mean == pytest.approx((20.6633 - 16.9633) / 2, abs=1e-3)
    assert supp.adjusted == pytest.approx(2 * supp.p)


# y of GRID's cells, three seeds each; what statsmodels 0.14 makes of them:
# anova_lm(ols("y ~ C(a,Sum)*C(b,Sum)*C(c,Sum) + C(s,Sum)", d).fit(), typ=3), and its conf_int().
BLOCKED = [
    2.35, 2.43, 2.423, 2.261, 2.355, 2.351, 2.456, 2.634, 2.501, 2.288, 2.449, 2.486,
    2.361, 2.307, 2.447, 2.42, 2.266, 2.404, 1.86, 1.971, 1.966, 2.026, 1.973, 2.177,
    2.166, 2.181, 1.998, 1.996, 2.095, 2.161, 1.897, 2.052, 2.052, 1.969, 2.206, 2.069,
]  # fmt: skip
# ("y ~ C(a,Sum)*C(b,Sum)*C(c,Sum)"), with 2 and 4 replicates in the cells a1 b2
UNEVEN = [
    2.347, 2.488, 2.392, 2.339, 2.411, 2.456, 2.327, 2.508, 2.486, 2.245, 2.536, 2.512,
    2.286, 2.6, 2.526, 2.23, 2.407, 2.508, 2.031, 2.168, 2.143, 2.117, 2.244, 2.082,
    2.17, 2.154, 2.263, 1.931, 2.042, 2.13, 2.14, 2.215, 2.018, 1.971, 2.165, 1.951,
]  # fmt: skip


def test_a_balanced_grid_with_seeds_as_blocks_is_statsmodels() -> None:
    values = {cell: dict(enumerate(BLOCKED[3 * k : 3 * k + 3])) for k, cell in enumerate(GRID)}
    found = factorial(("a", "b", "c"), values)
    assert found.seeds_are_blocks
    terms = by_axes(found)
    assert {axes: term.f for axes, term in terms.items()} == pytest.approx(
        {("a",): 185.394205, ("b",): 5.990590, ("c",): 0.045632, ("a", "b"): 0.279767,
         ("a", "c"): 6.119123, ("b", "c"): 1.897120}, rel=1e-5
    )  # fmt: skip
    assert terms["a", "c"].p == pytest.approx(0.02156941, rel=1e-6)
    assert terms["a",].freedom == (1, 22)
    a1 = terms["a",].contrasts[0].effect
    assert (a1.mean, a1.low, a1.high) == pytest.approx((0.177056, 0.150088, 0.204023), abs=1e-6)
    b1 = terms["b",].contrasts[0].effect
    assert (b1.mean, b1.low, b1.high) == pytest.approx((-0.04375, -0.081888, -0.005612), abs=1e-6)
    pair = terms["b", "c"].contrasts[2]
    assert pair.levels == ("b2", "c1")
    assert (pair.effect.mean, pair.effect.low) == pytest.approx((0.035639, -0.002499), abs=1e-6)


def test_unequal_numbers_of_seeds_give_type_iii() -> None:
    sizes = [
        2 if cell == ("a1", "b2", "c1") else 4 if cell == ("a1", "b2", "c2") else 3 for cell in GRID
    ]
    starts = np.cumsum([0, *sizes])
    values = {cell: UNEVEN[i:j] for cell, i, j in zip(GRID, starts, starts[1:], strict=False)}
    terms = by_axes(factorial(("a", "b", "c"), unshared(values)))
    assert {axes: term.f for axes, term in terms.items()} == pytest.approx(
        {("a",): 73.873641, ("b",): 0.129474, ("c",): 1.777977, ("a", "b"): 0.359575,
         ("a", "c"): 0.496998, ("b", "c"): 0.774497}, rel=1e-5
    )  # fmt: skip
    b2 = terms["b",].contrasts[1].effect
    assert (b2.mean, b2.low, b2.high) == pytest.approx((0.008847, -0.044912, 0.062607), abs=1e-6)


def test_a_two_way_table_by_hand() -> None:
    """Means 1 3 / 2 8: grand 3.5; rows -1.5, +1.5; columns -2, +2; interaction +1 -1 / -1 +1."""
    means = {("r1", "c1"): 1.0, ("r1", "c2"): 3.0, ("r2", "c1"): 2.0, ("r2", "c2"): 8.0}
    values = {cell: {1: y - 0.1, 2: y + 0.1} for cell, y in means.items()}
    terms = by_axes(factorial(("r", "c"), values))
    assert [c.effect.mean for c in terms["r",].contrasts] == pytest.approx([-1.5, 1.5])
    assert [c.effect.mean for c in terms["c",].contrasts] == pytest.approx([-2.0, 2.0])
    assert [c.effect.mean for c in terms["r", "c"].contrasts] == pytest.approx([1, -1, -1, 1])
    assert [c.mean.mean for c in terms["r", "c"].contrasts] == pytest.approx([1.0, 3.0, 2.0, 8.0])
    assert terms["r",].f is None  # the seeds shift all settings alike: no noise is left


def test_one_seed_gives_effects_without_intervals() -> None:
    values = {cell: {1: float(k)} for k, cell in enumerate(GRID)}
    term = factorial(("a", "b", "c"), values).terms[0]
    assert (term.f, term.p, term.adjusted, term.freedom) == (None, None, None, (1, 0))
    assert (term.contrasts[0].effect.mean, term.contrasts[0].effect.low) == (-3.0, None)


def test_a_missing_setting_leaves_its_block_out_and_an_empty_corner_the_term() -> None:
    values = {cell: {1: float(k), 2: k + 0.5} for k, cell in enumerate(GRID)}
    del values["a1", "b1", "c1"]
    terms = by_axes(factorial(("a", "b", "c"), values))
    assert (terms["a",].blocks, terms["a",].possible) == (5, 6)
    assert terms["a",].contrasts[0].effect.mean == pytest.approx(-3.0)
    assert (terms["a", "b"].blocks, terms["a", "b"].possible) == (1, 2)
    corner = {cell: ys for cell, ys in values.items() if cell[:2] != ("a1", "b1")}
    assert factorial(("a", "b", "c"), corner).left_out == (("a", "b"),)
    assert factorial(("a",), {("x",): {1: 1.0}}) is None


def test_without_any_effect_five_per_cent_are_below_five_per_cent() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        values = {cell: dict(enumerate(rng.normal(size=3))) for cell in GRID}
        p_values += [term.p for term in factorial(("a", "b", "c"), values).terms]
    share = np.mean(np.array(p_values) < 0.05)
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / len(p_values)) ** 0.5)
