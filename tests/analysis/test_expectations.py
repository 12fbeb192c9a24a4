"""Sentences by made-up intervals: a difference is said where the adjusted p says so, not else."""

import pytest

from lm_research.analysis.documents import DocumentDifference
from lm_research.analysis.expectations import ANSWERS, expectation
from lm_research.analysis.hypotheses import Verdict
from lm_research.analysis.metric import Metric
from lm_research.analysis.statistics import Estimate, PairedDifference
from lm_research.config.hypotheses import parse

BITS = Metric.named("val/bits_per_byte")
TEXT = "model=gru < model=rnn"


def verdict(mean, low, high, adjusted, n=3, **more) -> Verdict:
    estimate = Estimate(mean, n, 0.01 if n > 1 else None, low, high)
    difference = PairedDifference(estimate, tuple(range(1, n + 1)), adjusted, None)
    given = {"blocks": 4, "agreeing": 4 if mean > 0 else 0} | more
    return Verdict(parse(TEXT), difference, adjusted, **given)


def documents(low: float, high: float) -> DocumentDifference:
    return DocumentDifference(Estimate((low + high) / 2, 50, None, low, high), 0.2)


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (verdict(0.12, 0.08, 0.16, 0.004), "borne out",
         "as expected, by 0.120 [0.080, 0.160] bits per byte (p 0.004, 3 seeds)."),
        (verdict(-0.12, -0.16, -0.08, 0.004), "contradicted",
         "the other way round, by 0.120 [0.080, 0.160] bits per byte (p 0.004, 3 seeds)."),
        (verdict(0.01, -0.02, 0.04, 0.3), "not shown",
         "no difference is shown: 0.010 [−0.020, 0.040] bits per byte (p 0.300, 3 seeds)."),
        # an interval without 0 that Holm's correction does not uphold is no difference either
        (verdict(0.03, 0.01, 0.05, 0.06), "not shown",
         "no difference is shown: 0.030 [0.010, 0.050] bits per byte (p 0.060, 3 seeds)."),
        (verdict(0.03, 0.01, 0.05, 0.05), "not shown",
         "no difference is shown: 0.030 [0.010, 0.050] bits per byte (p 0.050, 3 seeds)."),
        (verdict(0.5, None, None, None, n=1), "not shown",
         "one seed, which shows no difference (0.500)."),
        (Verdict(parse(TEXT), missing="no finished run with model=gru has a value"), "not tested",
         "no finished run with model=gru has a value."),
    ],
)  # fmt: skip
def test_a_sentence_says_no_more_than_its_interval(given, answer, said) -> None:
    assert ANSWERS[given.outcome] == answer
    assert expectation(given, BITS) == f"`{TEXT}`: {said}"


def test_what_does_not_hold_everywhere_is_said() -> None:
    some = expectation(verdict(0.12, 0.08, 0.16, 0.004, agreeing=3), BITS)
    assert some.endswith("3 seeds), though in 3 of 4 combinations.")
    turned = expectation(verdict(-0.12, -0.16, -0.08, 0.004, agreeing=1), BITS)
    assert turned.endswith("3 seeds), though in 3 of 4 combinations.")


def test_other_documents_might_say_otherwise() -> None:
    unsure = expectation(verdict(0.12, 0.08, 0.16, 0.004, documents=documents(-0.01, 0.2)), BITS)
    assert unsure.endswith("; over documents the interval holds 0 [−0.010, 0.200].")
    sure = expectation(verdict(0.12, 0.08, 0.16, 0.004, documents=documents(0.01, 0.2)), BITS)
    assert "documents" not in sure
