"""What was expected, answered in sentences: each says a difference only where it is shown."""

from lm_research.analysis.hypotheses import Outcome, Verdict
from lm_research.analysis.metric import Metric
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.tables import p_text

ANSWERS: dict[Outcome, str] = {
    "supported": "borne out",
    "contradicted": "contradicted",
    "undecided": "not shown",
    "not tested": "not tested",
}
"""A verdict in the words of the page."""


def expectation(verdict: Verdict, metric: Metric) -> str:
    """ "`a < b`: as expected, by 0.120 [0.080, 0.160] bits per byte (p 0.003, 3 seeds)".

    A difference is said only where p, Holm-adjusted over the study's hypotheses, is below 0.05; the
    interval is the 95 % t-interval over seeds.
    """
    start = f"`{verdict.hypothesis.text}`"
    if verdict.difference is None:
        return f"{start}: {verdict.missing}."
    estimate = verdict.difference.estimate
    if estimate.n == 1:
        return f"{start}: one seed, which shows no difference ({metric.text(estimate.mean)})."
    p = f"p {p_text(verdict.adjusted)}, {estimate.n} seeds"
    if verdict.outcome == "undecided":
        told = f"no difference is shown: {_span(estimate, metric)} ({p})"
        return f"{start}: {told}."
    more = _span(estimate, metric, sign=1 if estimate.mean > 0 else -1)
    way = "as expected, by" if estimate.mean > 0 else "the other way round, by"
    return f"{start}: {way} {more} ({p}){_where(verdict)}{_documents(verdict, metric)}."


def _span(estimate: Estimate, metric: Metric, sign: int = 1) -> str:
    """ "0.120 [0.080, 0.160] bits per byte", turned round where ``sign`` is -1."""
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    ends = f"[{metric.text(low)}, {metric.text(high)}]"
    return f"{metric.text(sign * estimate.mean)} {ends} {metric.label}"


def _where(verdict: Verdict) -> str:
    """In how many combinations of other choices the mean goes the other way, if in any."""
    above = verdict.difference is not None and verdict.difference.estimate.mean > 0
    same = verdict.agreeing if above else verdict.blocks - verdict.agreeing
    return "" if same == verdict.blocks else f", though in {same} of {verdict.blocks} combinations"


def _documents(verdict: Verdict, metric: Metric) -> str:
    """A clause where other documents might say otherwise."""
    found = verdict.documents
    if found is None or found.p is None or found.estimate.excludes_zero():
        return ""
    low, high = (metric.text(end) for end in (found.estimate.low, found.estimate.high))
    return f"; over documents the interval holds 0 [{low}, {high}]"
