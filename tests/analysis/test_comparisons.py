import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lm_research.analysis.blocks import complete_block
from lm_research.analysis.comparisons import compare_levels, winners
from lm_research.analysis.comparisons import main_effect as effect_of
from lm_research.analysis.matrix import source_matrix
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import evaluation_sources, own_question, transfer_score
from lm_research.analysis.runs import find_runs, load_run
from lm_research.analysis.settings import Setting, find_axes, group_settings
from lm_research.analysis.statistics import holm

BITS = Metric.named("val/bits_per_byte")
ACCURACY = Metric.named("val/accuracy")
CELLS = st.sets(st.tuples(st.tuples(st.sampled_from("abcd")), st.integers(1, 4)))


def main_effect(settings, axis, metric):
    return effect_of(settings, axis, own_question(metric))


def settings_of(folder: Path) -> list[Setting]:
    runs = find_runs(folder)
    return group_settings(runs, find_axes(runs))


@pytest.fixture
def table(make_run):
    """Settings from {(data, vectorizer, model): values by seed}; None as a value is undefined."""

    def build(values, key="val/bits_per_byte", evaluations=None):
        runs = []
        for (data, vectorizer, model), by_seed in values.items():
            for seed, value in by_seed.items():
                summary = {key: value, **(evaluations or {}).get((data, seed), {})}
                choices = {"data": data, "vectorizer": vectorizer, "model": model}
                name = "-".join((*choices.values(), str(seed)))
                runs.append(load_run(make_run(name, seed, summary, choices=choices)))
        return group_settings(runs, ("data", "vectorizer", "model"))

    return build


@given(CELLS)
def test_a_complete_block_lies_within_the_cells(cells) -> None:
    blocks, seeds = complete_block(cells)
    assert set(product(blocks, seeds)) <= cells
    if cells:
        assert blocks
        assert seeds


@given(st.sets(st.tuples(st.sampled_from("abcd"))), st.sets(st.integers(1, 4)))
def test_a_full_grid_stays_whole(blocks, seeds) -> None:
    cells = set(product(blocks, seeds))
    if cells:
        assert complete_block(cells) == (sorted(blocks), sorted(seeds))


def test_one_missing_run_costs_its_block_not_a_seed() -> None:
    cells = set(product([("a",), ("b",), ("c",)], [1, 2])) - {(("b",), 2)}
    assert complete_block(cells) == ([("a",), ("c",)], [1, 2])


def test_a_seed_that_hardly_ran_goes() -> None:
    cells = {*product([("a",), ("b",), ("c",)], [1, 2]), (("a",), 3)}
    assert complete_block(cells) == ([("a",), ("b",), ("c",)], [1, 2])


def test_a_main_effect_by_hand(table) -> None:
    settings = table(
        {
            ("d", "v", "rnn"): {1: 2.0, 2: 2.2},
            ("d", "v", "lstm"): {1: 1.5, 2: 1.9},
            ("d", "w", "rnn"): {1: 3.0, 2: 3.0},
            ("d", "w", "lstm"): {1: 3.1, 2: 2.8},
        }
    )
    effect = main_effect(settings, "model", BITS)
    best, other = effect.levels
    assert (best.value, other.value) == ("lstm", "rnn")
    # seed 1: (0.5 - 0.1) / 2 = 0.2; seed 2: (0.3 + 0.2) / 2 = 0.25
    assert other.behind.estimate.mean == pytest.approx(0.225)
    expected = stats.ttest_1samp([0.2, 0.25], 0.0)
    assert other.behind.p == pytest.approx(expected.pvalue)
    assert other.adjusted == other.behind.p
    assert (other.ahead, other.blocks) == (2, 2)
    assert best.estimate.mean == pytest.approx((1.5 + 1.9 + 3.1 + 2.8) / 4)
    assert not best.real


def test_levels_are_adjusted_over_all_pairs(table) -> None:
    values = {"a": (1.0, 1.1), "b": (2.0, 2.11), "c": (3.0, 3.12)}
    settings = table({("d", v, "m"): dict(enumerate(x)) for v, x in values.items()})
    effect = main_effect(settings, "vectorizer", BITS)
    between = [(1.0, 1.01), (2.0, 2.02), (1.0, 1.01)]  # a to b, a to c, b to c
    expected = holm([stats.ttest_1samp(d, 0.0).pvalue for d in between])
    assert [level.adjusted for level in effect.levels[1:]] == pytest.approx(expected[:2])


def test_without_any_effect_five_per_cent_are_called_real() -> None:
    """Picking the best and testing it against the rest must not raise false alarms."""
    values_RLS = np.random.default_rng(0).normal(size=(400, 6, 5))
    alarms = 0
    for values_LS in values_RLS:
        cells = {
            str(i): {((), s): float(x) for s, x in enumerate(v)} for i, v in enumerate(values_LS)
        }
        alarms += any(level.real for level in compare_levels(cells, BITS))
    assert alarms / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_a_level_tried_on_hard_data_only_is_compared_there(table) -> None:
    """An unpaired mean would call b worse: it was tried on the hard source alone."""
    settings = table(
        {
            ("easy", "a", "m"): {1: 1.0, 2: 1.1},
            ("hard", "a", "m"): {1: 5.0, 2: 5.1},
            ("hard", "b", "m"): {1: 4.0, 2: 4.2},
        }
    )
    effect = main_effect(settings, "vectorizer", BITS)
    assert [level.value for level in effect.levels] == ["b", "a"]
    assert effect.levels[1].behind.estimate.mean == pytest.approx(0.95)
    assert effect.levels[1].blocks == 1


def test_levels_that_share_nothing_are_not_compared(table) -> None:
    settings = table({("x", "a", "m"): {1: 1.0}, ("y", "b", "m"): {1: 2.0}})
    effect = main_effect(settings, "vectorizer", BITS)
    assert [level.behind for level in effect.levels] == [None, None]
    assert [level.estimate for level in effect.levels] == [None, None]


def test_undefined_settings_are_left_out(table) -> None:
    settings = table(
        {("x", "a", "m"): {1: 1.0}, ("x", "b", "m"): {1: None}, ("x", "c", "m"): {1: 2.0}}
    )
    effect = main_effect(settings, "vectorizer", BITS)
    assert [level.value for level in effect.levels] == ["a", "c"]
    assert main_effect(settings[:2], "vectorizer", BITS) is None


def test_higher_is_better_turns_everything_round(table) -> None:
    settings = table(
        {("x", "a", "m"): {1: 0.5, 2: 0.6}, ("x", "b", "m"): {1: 0.3, 2: 0.35}}, "val/accuracy"
    )
    effect = main_effect(settings, "vectorizer", ACCURACY)
    assert [level.value for level in effect.levels] == ["a", "b"]
    assert effect.levels[1].behind.estimate.mean == pytest.approx(0.225)
    (winner,) = winners(settings, ACCURACY)
    assert winner.best["vectorizer"] == "a"
    assert winner.lead.estimate.mean == pytest.approx(0.225)


def test_the_matrix_is_the_known_one(grid: Path) -> None:
    settings = settings_of(grid)
    matrix = source_matrix(settings, BITS)
    assert matrix.rows == matrix.columns == ("python_code", "bbc_news")
    assert set(matrix.blocks.values()) == {6}
    assert not matrix.own
    for row, column in product(matrix.rows, matrix.columns):
        values = [
            run.summary[f"eval/{column}/bits_per_byte"]
            for setting in settings
            if setting.source == row
            for run in setting.runs
        ]
        assert matrix.cells[row, column].mean == pytest.approx(sum(values) / len(values))
        assert matrix.cells[row, column].n == 2


def test_a_column_averages_the_same_settings_in_all_rows(make_grid) -> None:
    folder = make_grid(vectorizers=("one_hot", "embedding"), models=("lstm",))
    lost = next(
        run for run in find_runs(folder)
        if (run.source, run.choices["vectorizer"], run.seed) == ("bbc_news", "one_hot", 1)
    )  # fmt: skip
    runs = [run for run in find_runs(folder) if run.folder != lost.folder]
    settings = group_settings(runs, ("data", "vectorizer", "model"))
    matrix = source_matrix(settings, BITS)
    assert set(matrix.blocks.values()) == {1}
    only = [r.summary["eval/bbc_news/bits_per_byte"] for s in settings for r in s.runs
            if (s.source, s["vectorizer"]) == ("python_code", "embedding")]  # fmt: skip
    assert matrix.cells["python_code", "bbc_news"].mean == pytest.approx(sum(only) / 2)


def test_the_own_split_fills_a_diagonal_that_was_not_scored(table) -> None:
    evaluations = {
        ("a", 1): {"eval/b/bits_per_byte": 3.0},
        ("b", 1): {"eval/a/bits_per_byte": 4.0},
    }
    settings = table(
        {("a", "v", "m"): {1: 1.0}, ("b", "v", "m"): {1: 2.0}}, evaluations=evaluations
    )
    matrix = source_matrix(settings, BITS)
    assert matrix.own
    assert {cell: e.mean for cell, e in matrix.cells.items()} == {
        ("a", "a"): 1.0, ("a", "b"): 3.0, ("b", "a"): 4.0, ("b", "b"): 2.0,
    }  # fmt: skip


def test_without_evaluations_there_is_no_matrix(table) -> None:
    assert source_matrix(table({("a", "v", "m"): {1: 1.0}}), BITS) is None


def test_sources_are_compared_on_common_ground(table) -> None:
    evaluations = {
        ("a", 1): {"eval/a/bits_per_byte": 1.0, "eval/b/bits_per_byte": 3.0},
        ("b", 1): {"eval/a/bits_per_byte": 2.0, "eval/b/bits_per_byte": 2.5},
    }
    settings = table(
        {("a", "v", "m"): {1: 9.0}, ("b", "v", "m"): {1: 1.0}}, evaluations=evaluations
    )
    assert evaluation_sources(settings, BITS) == ("a", "b")
    score = transfer_score(BITS, ("a", "b"))
    assert [score(setting) for setting in settings] == [{1: 2.0}, {1: 2.25}]


def test_the_evaluation_sources_may_hold_slashes(make_run) -> None:
    run = load_run(make_run("a", 1, {"val/bits_per_byte": 1.0, "eval/user/set/bits_per_byte": 2.0}))
    settings = group_settings([run], ("data",))
    assert evaluation_sources(settings, BITS) == ("user/set",)


def test_winners_lead_is_paired_and_adjusted_over_sources(table) -> None:
    settings = table(
        {
            ("x", "a", "m"): {1: 1.0, 2: 1.1},
            ("x", "b", "m"): {1: 1.5, 2: 1.61},
            ("y", "a", "m"): {1: 2.0, 2: 2.1},
            ("y", "b", "m"): {1: 2.01, 2: 2.05},
            ("y", "c", "m"): {1: None, 2: 1.0},
        }
    )
    x, y = winners(settings, BITS)
    assert (x.best["vectorizer"], x.runner_up["vectorizer"], x.real) == ("a", "b", True)
    assert x.lead.p == pytest.approx(stats.ttest_1samp([0.5, 0.51], 0.0).pvalue)
    assert x.adjusted == pytest.approx(2 * x.lead.p)
    assert (y.best["vectorizer"], y.real) == ("b", False)


def test_a_single_setting_wins_alone(table) -> None:
    (winner,) = winners(table({("x", "a", "m"): {1: 1.0}}), BITS)
    assert (winner.runner_up, winner.lead, winner.adjusted) == (None, None, None)
    assert winners(table({("y", "a", "m"): {1: None}}), BITS) == ()


def test_rivals_without_a_shared_seed_have_no_lead(table) -> None:
    (winner,) = winners(table({("x", "a", "m"): {1: 1.0}, ("x", "b", "m"): {2: 2.0}}), BITS)
    assert winner.runner_up["vectorizer"] == "b"
    assert winner.lead is None


def test_the_matrix_has_intervals_over_documents(grid: Path, rich_grid: Path) -> None:
    """Against a plain loop over resamples, on documents that add up to what was recorded."""
    assert source_matrix(settings_of(grid), BITS).documents == {}  # none were kept
    settings = settings_of(rich_grid)
    matrix = source_matrix(settings, BITS)
    assert matrix.documents.keys() == matrix.cells.keys()
    rng = np.random.default_rng(5)
    for (row, column), found in matrix.documents.items():
        assert found.mean == pytest.approx(matrix.cells[row, column].mean)
        files = [
            np.load(run.folder / "evaluations" / f"eval-{column}.npz")
            for setting in settings
            if setting.source == row
            for run in setting.runs
        ]
        nats_D = np.mean([file["document_nats"] for file in files], axis=0)
        bytes_D = files[0]["document_bytes"]
        assert len(files) == 18
        drawn = []
        for _ in range(2000):
            places = rng.integers(0, len(bytes_D), len(bytes_D))
            drawn.append(nats_D[places].sum() / bytes_D[places].sum() / math.log(2))
        width = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
        assert found.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.1 * width)
        assert found.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.1 * width)
