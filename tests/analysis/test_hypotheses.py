import pytest
from scipy import stats

from lm_research.analysis.hypotheses import judge
from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import load_run
from lm_research.analysis.settings import group_settings
from lm_research.analysis.statistics import holm
from lm_research.config.hypotheses import parse

BITS = Metric.named("val/bits_per_byte")
VALUES = {
    ("x", "a", "rnn"): (2.0, 2.1, 2.05), ("x", "a", "lstm"): (1.8, 1.92, 1.86),
    ("x", "b", "rnn"): (2.5, 2.6, 2.52), ("x", "b", "lstm"): (2.3, 2.41, 2.33),
    ("y", "a", "rnn"): (3.0, 3.1, 3.02), ("y", "a", "lstm"): (3.1, 2.9, 3.03),
}  # fmt: skip


@pytest.fixture
def settings(make_run):
    runs = []
    for (data, vectorizer, model), values in VALUES.items():
        for seed, value in enumerate(values):
            choices = {"data": data, "vectorizer": vectorizer, "model": model, "text": "byte"}
            summary = {"val/bits_per_byte": value, "eval/z/bits_per_byte": value + 1}
            runs.append(
                load_run(
                    make_run(f"{data}{vectorizer}{model}{seed}", seed, summary, choices=choices)
                )
            )
    return group_settings(runs, ("data", "vectorizer", "model"))


def verdicts(settings, *texts, common=()):
    return judge(settings, [parse(text) for text in texts], BITS, common)


def test_verdicts_follow_the_adjusted_p_and_the_direction(settings) -> None:
    held, wrong, open_ = verdicts(
        settings, "model=lstm < model=rnn where data=x", "model=rnn < model=lstm where data=x",
        "model=lstm < model=rnn where data=y",
    )  # fmt: skip
    assert (held.outcome, wrong.outcome, open_.outcome) == (
        "supported",
        "contradicted",
        "undecided",
    )
    # per seed the mean over the vectorizers a and b
    by_seed = [((2.0 - 1.8) + (2.5 - 2.3)) / 2, ((2.1 - 1.92) + (2.6 - 2.41)) / 2,
               ((2.05 - 1.86) + (2.52 - 2.33)) / 2]  # fmt: skip
    expected = stats.ttest_1samp(by_seed, 0.0)
    assert held.difference.estimate.mean == pytest.approx(sum(by_seed) / 3)
    assert held.difference.p == pytest.approx(expected.pvalue)
    assert wrong.difference.estimate.mean == -held.difference.estimate.mean
    p_values = [v.difference.p for v in (held, wrong, open_)]
    assert [v.adjusted for v in (held, wrong, open_)] == pytest.approx(holm(p_values))
    assert (held.blocks, held.agreeing, wrong.agreeing) == (2, 2, 0)


def test_a_switch_is_written_as_on_the_command_line(make_run) -> None:
    runs = []
    for copy, values in {True: (1.0, 1.1, 1.2), False: (2.0, 2.2, 2.1)}.items():
        for seed, value in enumerate(values):
            config = {"task": {"copy": copy}}
            summary = {"val/bits_per_byte": value}
            runs.append(load_run(make_run(f"{copy}{seed}", seed, summary, config=config)))
    (verdict,) = verdicts(group_settings(runs, ("task.copy",)), "task.copy=true < task.copy=false")
    assert verdict.outcome == "supported"


def test_one_evaluation_source_is_asked_where_it_is_named(make_run) -> None:
    scores = {
        "all": [(2.0, 3.0), (2.2, 3.1), (2.1, 3.2)],
        "code": [(2.5, 2.0), (2.6, 2.2), (2.6, 2.1)],
    }
    runs = []
    for data, values in scores.items():
        for seed, (y, z) in enumerate(values):
            summary = {"val/bits_per_byte": 9.0, "eval/y/bits_per_byte": y}
            summary["eval/z/bits_per_byte"] = z
            choices = {"data": data, "model": "gru"}
            runs.append(load_run(make_run(f"{data}{seed}", seed, summary, choices=choices)))
    settings = group_settings(runs, ("data", "model"))
    on_y, on_z, mean, unknown = verdicts(
        settings, "data=all < data=code on y", "data=code < data=all on z", "data=all < data=code",
        "data=all < data=code on w", common=("y", "z"),
    )  # fmt: skip
    assert on_y.difference.estimate.mean == pytest.approx((0.5 + 0.4 + 0.5) / 3)
    assert on_z.difference.estimate.mean == pytest.approx((1.0 + 0.9 + 1.1) / 3)
    assert mean.difference.estimate.mean == pytest.approx((1.4 - 3.0) / 6)
    assert (unknown.outcome, unknown.missing) == ("not tested", "not all runs were scored on w")


def test_several_axes_at_once(settings) -> None:
    (found,) = verdicts(settings, "model=lstm, vectorizer=a < model=rnn, vectorizer=b where data=x")
    assert found.difference.estimate.mean == pytest.approx((0.7 + 0.68 + 0.66) / 3)


def test_sources_compare_on_common_texts_or_not_at_all(settings) -> None:
    (found,) = verdicts(settings, "data=x < data=y", common=("z",))
    assert (found.outcome, found.blocks) == ("supported", 2)  # vectorizer a with either model
    (alone,) = verdicts(settings, "data=x < data=y")
    assert (alone.outcome, alone.missing) == (
        "not tested",
        "the training sources share no evaluation text",
    )


def test_what_was_not_run_is_not_tested(settings) -> None:
    missing, held = verdicts(
        settings, "model=gru < model=rnn where text=byte", "model=lstm < model=rnn where data=x"
    )
    assert missing.outcome == "not tested"
    assert missing.missing == "no finished run with model=gru, text=byte has a value"
    assert held.adjusted == held.difference.p  # a test that was not made costs the others nothing
