"""A table free of any output format, and how estimates are put in words."""

from dataclasses import dataclass

from lm_research.analysis.comparisons import ALPHA
from lm_research.analysis.documents import DocumentDifference
from lm_research.analysis.metric import MISSING, UNDEFINED, Metric, fixed
from lm_research.analysis.statistics import Estimate, PairedDifference

HOLM = (
    "p: two-sided paired t-test over seeds, Holm-adjusted for the number of comparisons (all pairs "
    "of an axis's options; all sources); “real” is p < 0.05, “unsure” an interval without 0 that "
    "the correction does not uphold."
)
DOCUMENTS = (
    "Over documents: 95 % paired bootstrap interval of the same difference over the evaluation "
    "documents, the training runs as they are. The interval over seeds asks whether other runs "
    "would say the same, this one whether other documents would."
)
SIZES = "g: Hedges' g of the paired differences, their mean over their sd, corrected for few seeds."
INTERVAL = "± is half of the 95 % t-interval over seeds."


@dataclass(frozen=True)
class Column:
    """A column. Those of a higher ``rank`` go first when space is short, those of rank 0 never;
    ``wide`` ones hold sentences and wrap."""

    head: str
    numeric: bool = True
    rank: int = 0
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell's text; ``best`` marks the winner, ``faint`` what is secondary."""

    text: str
    best: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Table:
    """A titled table; ``breaks`` are rows before which a rule is drawn."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    breaks: frozenset[int] = frozenset()


def plus_minus(metric: Metric, estimate: Estimate | None, undefined: bool = False) -> str:
    """ "2.314 ±0.012"; "2.314 (one seed)"; "undefined"; "–" where nothing was recorded."""
    if estimate is None:
        return UNDEFINED if undefined else MISSING
    if estimate.n == 1:
        return f"{metric.text(estimate.mean)} (one seed)"
    return f"{metric.text(estimate.mean)} {metric.plus_minus(estimate.half_width)}"


def interval(metric: Metric, estimate: Estimate) -> str:
    """ "0.080 to 0.160", or "one seed"."""
    if estimate.low is None or estimate.high is None:
        return "one seed"
    return f"{metric.text(estimate.low)} to {metric.text(estimate.high)}"


def p_text(p: float | None) -> str:
    """ "0.012", "<0.001", or "–" where there is no test."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict_of(difference: PairedDifference, adjusted: float | None) -> str:
    """In a word: "real", "seed noise", "unsure" (real but for the correction), "one seed"."""
    if adjusted is None:
        return "one seed"
    if adjusted < ALPHA:
        return "real"
    return "unsure" if difference.estimate.excludes_zero() else "seed noise"


def over_documents(metric: Metric, found: DocumentDifference | None) -> str:
    """ "0.080 to 0.160", or "–"."""
    return MISSING if found is None else interval(metric, found.estimate)


def effect_size(difference: PairedDifference) -> str:
    """Hedges' g, or "–" below three seeds or without spread."""
    return MISSING if difference.hedges_g is None else fixed(difference.hedges_g, 1)
