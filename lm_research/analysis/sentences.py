"""The answer in plain sentences, each derived from an interval.

Names of options stand between backticks, which Markdown shows as code and the other outputs turn
into their own emphasis.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lm_research.analysis.comparisons import ALPHA, Effect, Level, Winner
from lm_research.analysis.documents import DocumentDifference
from lm_research.analysis.factorial import Factorial
from lm_research.analysis.hypotheses import Verdict
from lm_research.analysis.matrix import Matrix
from lm_research.analysis.metric import Metric
from lm_research.analysis.scaling import Scaling
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study
from lm_research.analysis.tables import best_rows, p_text

SOURCES_NAMED = 6
LAWS_NAMED = 4
NO_BREAK = "\u00a0"
Kind = Literal["real", "unclear", "plain"]


@dataclass(frozen=True)
class Sentence:
    """A sentence, and whether it claims a real difference, an unclear one, or none."""

    text: str
    kind: Kind = "plain"


def answer(study: Study) -> list[Sentence]:
    """The study's answer: what matters most, each axis, each source's best, the matrix."""
    if not study.settings:
        return [Sentence("No finished run, so there is no answer yet.")]
    metric = study.metric
    sentences = [verdict_sentence(verdict, metric) for verdict in study.hypotheses]
    sentences.extend(_ordering(study))
    for effect in study.effects:
        sentences.extend(effect_sentences(effect, metric))
    sentences.extend(interaction_sentences(study.factorial))
    sentences.extend(scaling_sentence(law, metric) for law in study.scaling[:LAWS_NAMED])
    if study.matrix is not None and len(study.matrix.rows) > 1:
        sentences.extend(matrix_sentences(study.matrix, metric, study.settings))
    if not study.one_a_source:
        sentences.extend(winner_sentences(study.winners, metric))
    if not study.winners:
        sentences.append(Sentence(f"No finished run has a defined value of {metric.label}."))
    return sentences


def verdict_sentence(verdict: Verdict, metric: Metric) -> Sentence:
    """What was expected, and what the runs say to it."""
    expected = f"Expected {_name(verdict.hypothesis.text)}"
    if verdict.difference is None:
        return Sentence(f"{expected}: not tested, as {verdict.missing}.", "unclear")
    size = _difference(verdict.difference.estimate, metric)
    if verdict.outcome == "undecided":
        doubt = _doubt(verdict.difference.estimate, verdict.adjusted)
        return Sentence(f"{expected}: undecided; the difference, {size}, {doubt}.", "unclear")
    text = f"{expected}: {verdict.outcome}; the difference is {size}, p {p_text(verdict.adjusted)}"
    return Sentence(f"{text}{_over_documents(verdict.documents, metric)}.", "real")


def _over_documents(found: DocumentDifference | None, metric: Metric) -> str:
    """A clause where other documents might say otherwise; nothing where they agree."""
    if found is None or found.p is None or found.estimate.excludes_zero():
        return ""
    low, high = (metric.text(end) for end in (found.estimate.low, found.estimate.high))
    return f", though over documents its interval holds 0 ({low} to {high})"


def interaction_sentences(found: Factorial | None) -> list[Sentence]:
    """The pairs of axes that are shown to interact."""
    sentences = []
    for term in found.terms if found else ():
        if len(term.axes) == 2 and term.adjusted is not None and term.adjusted < ALPHA:
            first, second = term.axes
            p = p_text(term.adjusted)
            text = f"What the {first} does depends on the {second} (interaction, p {p})."
            sentences.append(Sentence(text, "real"))
    return sentences


def scaling_sentence(law: Scaling, metric: Metric) -> Sentence:
    """The exponent, and what no size would remove."""
    alpha, rest = law.fit.exponent, law.fit.irreducible
    where = f" at {_name(' · '.join(law.fixed))}" if law.fixed else ""
    return Sentence(
        f"Over {law.quantity}{where}, {metric.label} falls as x^−{alpha.mean:.2f} "
        f"({alpha.low:.2f} to {alpha.high:.2f}) towards {rest.mean:.2f} "
        f"({rest.low:.2f} to {rest.high:.2f})."
    )


def _ordering(study: Study) -> list[Sentence]:
    """Which choice moves the metric most. Data are left out: their effect is another question."""
    spans = []
    for effect in study.effects:
        worst = [level.behind.estimate for level in effect.levels if level.behind]
        if worst and effect.axis != "data":
            spans.append((max(worst, key=lambda estimate: estimate.mean), effect.axis))
    if len(spans) < 2:
        return []
    spans.sort(key=lambda pair: pair[0].mean, reverse=True)
    listed = ", then the ".join(
        f"{axis}, {_short_difference(span, study.metric)} from best to worst"
        for span, axis in spans
    )
    return [Sentence(f"Data apart, what moves {study.metric.label} most is the {listed}.")]


def effect_sentences(effect: Effect, metric: Metric) -> list[Sentence]:
    """One axis: which options the best one beats for certain, and which it does not."""
    best, *others = effect.levels
    compared = [level for level in others if level.behind is not None]
    beaten = [level for level in compared if level.real]
    sentences = []
    if beaten:
        scope = (
            "Averaged over the evaluation sources, training on"
            if effect.evaluations
            else f"Averaged over the other choices, {effect.axis}"
        )
        listed = _listed([_beaten(level, metric, i == 0) for i, level in enumerate(beaten)])
        sentences.append(Sentence(f"{scope} {_name(best.value)} is better than {listed}.", "real"))
    sentences.extend(_unclear(effect, [x for x in compared if not x.real], metric))
    if len(compared) < len(others):
        names = _listed([_name(level.value) for level in others if level.behind is None])
        sentences.append(
            Sentence(f"{_name(best.value)} and {names} share no other choices to be compared at.")
        )
    return sentences


def _beaten(level: Level, metric: Metric, first: bool) -> str:
    """ "`rnn` by 0.120 bits per byte (95 % interval ..., 2 seeds)"; shorter after the first."""
    assert level.behind is not None
    estimate = level.behind.estimate
    size = _difference(estimate, metric) if first else _short_difference(estimate, metric)
    text = f"{_name(level.value)} by {size}"
    text += _over_documents(level.documents, metric)
    if level.ahead < level.blocks:
        text += f", though in only {level.ahead} of {level.blocks} combinations"
    return text


def _unclear(effect: Effect, levels: Sequence[Level], metric: Metric) -> list[Sentence]:
    """One sentence for each reason not to call a difference real."""
    by_doubt: dict[str, list[Estimate]] = {}
    names: dict[str, list[str]] = {}
    for level in levels:
        if level.behind is not None:
            doubt = _doubt(level.behind.estimate, level.adjusted)
            by_doubt.setdefault(doubt, []).append(level.behind.estimate)
            names.setdefault(doubt, []).append(_name(level.value))
    what = "training on" if effect.evaluations else effect.axis
    sentences = []
    for doubt, (first, *more) in by_doubt.items():
        sizes = [_difference(first, metric), *(_short_difference(e, metric) for e in more)]
        pairs = [f"{name}, {size}" for name, size in zip(names[doubt], sizes, strict=True)]
        text = f"between {what} {_name(effect.levels[0].value)} and {_listed(pairs)}, {doubt}."
        plural = f"The differences {text.replace(' is not ', ' are not ')}"
        sentences.append(Sentence(plural if more else f"The difference {text}", "unclear"))
    return sentences


def _doubt(estimate: Estimate, adjusted: float | None) -> str:
    """Why a difference is not called real."""
    if adjusted is None:
        return "cannot be told from seed noise without a second seed"
    if estimate.excludes_zero():
        return "is not certain once corrected for the number of comparisons"
    return "is not distinguishable from seed noise"


def winner_sentences(winners: Sequence[Winner], metric: Metric) -> list[Sentence]:
    """A sentence a source; with many sources, how often each setting wins."""
    if len(winners) <= SOURCES_NAMED:
        return [winner_sentence(winner, metric) for winner in winners]
    counts = Counter(winner.best.phrase for winner in winners).most_common(3)
    listed = _listed([f"{_name(label)} on {count}" for label, count in counts])
    real = sum(winner.real for winner in winners)
    text = f"Of {len(winners)} sources, {listed} do best; the lead is real on {real} of them."
    return [Sentence(text)]


def winner_sentence(winner: Winner, metric: Metric) -> Sentence:
    """The best setting of one source, and what its lead is worth."""
    reached = metric.text(winner.estimate.mean)
    if winner.estimate.half_width is not None:
        reached += f" {metric.plus_minus(winner.estimate.half_width)}"
    best = f"{_name(winner.best.phrase)} does best at {reached} {metric.label}"
    start = f"On {_name(winner.source)}, {best}"
    if winner.runner_up is None:
        return Sentence(f"{start}; nothing else was tried there.")
    rival = _name(winner.runner_up.phrase)
    if winner.lead is None:
        return Sentence(f"{start}; the next, {rival}, shares no seed with it.", "unclear")
    lead = f"its lead over {rival}, {_short_difference(winner.lead.estimate, metric)},"
    if winner.real:
        documents = _over_documents(winner.documents, metric)
        return Sentence(f"{start}; {lead} is real{documents}.", "real")
    return Sentence(f"{start}; {lead} {_doubt(winner.lead.estimate, winner.adjusted)}.", "unclear")


def matrix_sentences(matrix: Matrix, metric: Metric, settings: Sequence[Setting]) -> list[Sentence]:
    """Whether each source is best served by its own, and what it costs to leave it."""
    names = {name: s.source for s in settings for name in s.source_names if name}
    best = best_rows(matrix, metric)
    own = [c for c in best if c in names and (names[c], c) in matrix.cells]
    costs = [
        metric.gain(matrix.cells[names[c], c].mean, matrix.cells[row, c].mean)
        for c in own
        for row in matrix.rows
        if row != names[c] and (row, c) in matrix.cells
    ]
    if not costs:
        return []
    mean_cost = sum(costs) / len(costs)
    price = f"training on another source costs {metric.text(mean_cost)} {metric.label} on average"
    losers = [c for c in own if best[c] != names[c]]
    if not losers:
        return [Sentence(f"Each source is predicted best by models trained on it: {price}.")]
    listed = _listed([f"{_name(c)} (better after training on {_name(best[c])})" for c in losers])
    return [
        Sentence(f"Not each source is predicted best by models trained on it: {listed}; {price}.")
    ]


def _difference(estimate: Estimate, metric: Metric) -> str:
    """ "0.120 bits per byte (95 % interval 0.080 to 0.160, 2 seeds)"."""
    size = f"{metric.text(estimate.mean)} {metric.label}"
    if estimate.low is None or estimate.high is None:
        return f"{size} (one seed)"
    low, high = metric.text(estimate.low), metric.text(estimate.high)
    percent = f"{estimate.level * 100:.0f}{NO_BREAK}%"
    return f"{size} ({percent} interval {low} to {high}, {estimate.n} seeds)"


def _short_difference(estimate: Estimate, metric: Metric) -> str:
    """ "0.120 (0.080 to 0.160)", where the unit and the kind of interval have been said."""
    if estimate.low is None or estimate.high is None:
        return f"{metric.text(estimate.mean)} (one seed)"
    low, high = metric.text(estimate.low), metric.text(estimate.high)
    return f"{metric.text(estimate.mean)} ({low} to {high})"


def _name(name: str) -> str:
    return f"`{name.replace('`', 'ˋ')}`"


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
