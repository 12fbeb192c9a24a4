"""What a study expected, tested: each hypothesis with its difference, intervals and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lm_research.analysis.comparisons import ALPHA, by_documents, paired_levels
from lm_research.analysis.documents import DocumentDifference
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import cells_of, own_question, transfer_question
from lm_research.analysis.settings import Setting, value_of
from lm_research.analysis.statistics import PairedDifference, holm_defined
from lm_research.config.hypotheses import Choices, Hypothesis

Outcome = Literal["supported", "contradicted", "undecided", "not tested"]


@dataclass(frozen=True)
class Verdict:
    """One hypothesis and what the runs say.

    Args:
        hypothesis: what was expected.
        difference: metric of the side expected higher, minus that of the lower: above 0 is as
            expected. Paired by seed and the choices on all other axes.
        adjusted: two-sided p of that difference, Holm-adjusted over the study's hypotheses.
        documents: the same difference, over evaluation documents.
        blocks: combinations of other choices that it averages over.
        agreeing: in how many of them the order is the expected one.
        missing: why there is no difference.
    """

    hypothesis: Hypothesis
    difference: PairedDifference | None = None
    adjusted: float | None = None
    documents: DocumentDifference | None = None
    blocks: int = 0
    agreeing: int = 0
    missing: str = ""

    @property
    def outcome(self) -> Outcome:
        """Decided only where the adjusted p is below 0.05."""
        if self.difference is None:
            return "not tested"
        if self.adjusted is None or self.adjusted >= ALPHA:
            return "undecided"
        return "supported" if self.difference.estimate.mean > 0 else "contradicted"


def judge(
    settings: Sequence[Setting],
    hypotheses: Sequence[Hypothesis],
    metric: Metric,
    common: Sequence[str] = (),
) -> tuple[Verdict, ...]:
    """Test each hypothesis, with p adjusted over all of them.

    Args:
        common: evaluation sources on which training sources compare; hypotheses about ``data`` are
            tested on their mean, or on the one that they name, and not at all without any.
    """
    found = [_judged(settings, hypothesis, metric, common) for hypothesis in hypotheses]
    adjusted = holm_defined([v.difference.p if v.difference else None for v in found])
    return tuple(replace(v, adjusted=p) for v, p in zip(found, adjusted, strict=True))


def _judged(
    settings: Sequence[Setting], hypothesis: Hypothesis, metric: Metric, common: Sequence[str]
) -> Verdict:
    of_data = "data" in hypothesis.lower
    if hypothesis.on is not None and hypothesis.on not in common:
        return Verdict(hypothesis, missing=f"not all runs were scored on {hypothesis.on}")
    if of_data and not common:
        return Verdict(hypothesis, missing="the training sources share no evaluation text")
    texts = [hypothesis.on] if hypothesis.on else common
    asked = hypothesis.on or of_data
    question = transfer_question(metric, texts) if asked else own_question(metric)
    here = [setting for setting in settings if _matches(setting, hypothesis.where)]
    sides = [
        [s for s in here if _matches(s, side)] for side in (hypothesis.lower, hypothesis.higher)
    ]
    lower, higher = (cells_of(side, tuple(hypothesis.lower), question) for side in sides)
    for cells, side in ((lower, hypothesis.lower), (higher, hypothesis.higher)):
        if not cells:
            wanted = ", ".join(f"{k}={v}" for k, v in {**side, **hypothesis.where}.items())
            return Verdict(hypothesis, missing=f"no finished run with {wanted} has a value")
    pair = paired_levels(higher, lower)
    if pair is None:
        return Verdict(hypothesis, missing="the two sides share no seed at equal other choices")
    difference, by_block = pair
    documents = by_documents(sides[1], sides[0], tuple(hypothesis.lower), question)
    agreeing = sum(d > 0 for d in by_block)
    return Verdict(hypothesis, difference, None, documents, len(by_block), agreeing)


def _matches(setting: Setting, choices: Choices) -> bool:
    return all(value_of(setting.runs[0], axis) == value for axis, value in choices.items())
