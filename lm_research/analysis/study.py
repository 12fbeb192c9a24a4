"""Everything the report says, computed once: settings, effects, matrix, winners, and caveats."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Any, TypeVar, cast

from lm_research.analysis.comparisons import Effect, Winner, main_effect, winners
from lm_research.analysis.evaluated_text import text_warnings
from lm_research.analysis.factorial import Factorial, Term, adjusted, factorial
from lm_research.analysis.hypotheses import Verdict, judge
from lm_research.analysis.matrix import Matrix, source_matrix
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import (
    Question,
    evaluation_sources,
    own_question,
    transfer_question,
)
from lm_research.analysis.runs import Run
from lm_research.analysis.scaling import Scaling, scaling_laws
from lm_research.analysis.settings import Setting, find_axes, group_settings
from lm_research.analysis.sweep import Sweep
from lm_research.config.choices import mapping

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Study:
    """The numbers of a sweep.

    Args:
        sweep: question, deciding metric.
        runs: all runs, whatever their state.
        settings: the finished runs, grouped.
        axes: what varies between settings.
        effects: main effect of each axis that can be compared, in the order of the axes.
        matrix: training by evaluation source.
        winners: best setting per training source.
        notes: caveats, each a sentence.
        hypotheses: what the sweep file expected, with a verdict each.
        factorial: main effects and interactions, against noise pooled over the settings.
        scaling: laws along axes of sizes or tokens.
        warnings: what makes numbers incomparable that stand side by side, each a sentence.
    """

    sweep: Sweep
    runs: tuple[Run, ...]
    settings: tuple[Setting, ...]
    axes: tuple[str, ...]
    effects: tuple[Effect, ...]
    matrix: Matrix | None
    winners: tuple[Winner, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    hypotheses: tuple[Verdict, ...] = ()
    factorial: Factorial | None = None
    scaling: tuple[Scaling, ...] = ()

    @property
    def metric(self) -> Metric:
        """The deciding metric."""
        return self.sweep.metric

    @property
    def sources(self) -> tuple[str, ...]:
        """Training sources of finished runs, in order of appearance."""
        return tuple(dict.fromkeys(setting.source for setting in self.settings))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of finished runs."""
        return tuple(sorted({r.seed for s in self.settings for r in s.runs if r.seed is not None}))

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """Runs that enter no statistics: failed, running, queued, or unreadable."""
        counted = {run for setting in self.settings for run in setting.runs}
        return tuple(run for run in self.runs if run not in counted)

    @cached_property
    def made(self) -> dict[Callable[["Study"], Any], Any]:
        """What was made of this study; see :func:`once`."""
        return {}

    def of_source(self, source: str) -> list[Setting]:
        """A source's settings, the best first, undefined ones last."""
        return self.ranked([setting for setting in self.settings if setting.source == source])

    def ranked(self, settings: Iterable[Setting]) -> list[Setting]:
        """The best first, undefined ones last."""
        key = self.metric.key

        def order(setting: Setting) -> tuple[bool, float]:
            estimate = setting.estimate(key)
            return estimate is None, self.metric.gain(0.0, estimate.mean) if estimate else 0.0

        return sorted(settings, key=order)

    @property
    def one_a_source(self) -> bool:
        """Whether there are several sources, and each has a single setting: nobody wins there."""
        return len(self.sources) == len(self.settings) > 1


def once(make: Callable[[Study], Made]) -> Callable[[Study], Made]:
    """What ``make`` makes of a study is made once: page, Markdown, LaTeX and terminal share it."""

    @wraps(make)
    def remembered(study: Study) -> Made:
        if make not in study.made:
            study.made[make] = make(study)
        return cast(Made, study.made[make])

    return remembered


def analyse(runs: Sequence[Run], sweep: Sweep) -> Study:
    """Group, compare, and note the caveats.

    Raises:
        ValueError: if runs that would be averaged differ in more than the seed, or repeat a seed.
    """
    usable = [run for run in runs if run.done and run.config and run.seed is not None]
    axes = find_axes(usable, sweep.axes) if usable else ()
    settings = tuple(group_settings(usable, axes)) if usable else ()
    common = _common_evaluations(settings, sweep.metric)
    # Trials of a search lie where it looked, one seed each: no two share their other choices.
    compared = () if sweep.searched else settings
    return Study(
        sweep=sweep,
        runs=tuple(runs),
        settings=settings,
        axes=axes,
        effects=_effects(compared, axes, sweep.metric, common),
        matrix=source_matrix(settings, sweep.metric),
        winners=winners(settings, sweep.metric),
        notes=tuple(_notes(runs, settings, axes, sweep)),
        warnings=tuple(text_warnings(settings, sweep.metric)),
        hypotheses=judge(settings, sweep.hypotheses, sweep.metric, common),
        factorial=_factorial(compared, axes, sweep.metric, common),
        scaling=scaling_laws(compared, sweep.metric),
    )


def regrouped(study: Study, settings: Sequence[Setting], axes: Sequence[str]) -> Study:
    """The same runs and hypotheses, compared by other settings along other axes."""
    metric, settings, axes = study.metric, tuple(settings), tuple(axes)
    common = _common_evaluations(settings, metric)
    return replace(
        study,
        settings=settings,
        axes=axes,
        effects=_effects(settings, axes, metric, common),
        winners=winners(settings, metric),
        factorial=_factorial(settings, axes, metric, common),
    )


def _effects(
    settings: Sequence[Setting], axes: Sequence[str], metric: Metric, common: Sequence[str]
) -> tuple[Effect, ...]:
    """Each axis's effect.

    Training sources are compared on common evaluation sources, or not at all: their own validation
    texts differ, and an easier text is no better teacher.
    """
    found = []
    for axis in axes:
        if axis != "data":
            found.append(main_effect(settings, axis, own_question(metric)))
        elif common:
            effect = main_effect(settings, axis, transfer_question(metric, common))
            found.append(effect and Effect(axis, effect.levels, tuple(common)))
    return tuple(effect for effect in found if effect is not None)


def _factorial(
    settings: Sequence[Setting], axes: Sequence[str], metric: Metric, common: Sequence[str]
) -> Factorial | None:
    """Main effects and interactions; the main effect of the data on common texts, or not at all.

    An interaction with the data needs no common text: it compares differences, each of them
    within one source.
    """

    def of(question: Question) -> Factorial | None:
        return factorial(axes, {s.values: question.score(s) for s in settings})

    found = of(own_question(metric))
    if found is None:
        return None
    terms: list[Term] = [term for term in found.terms if term.axes != ("data",)]
    transferred = of(transfer_question(metric, common)) if common else None
    if transferred is not None:
        terms = [t for t in transferred.terms if t.axes == ("data",)] + terms
    return replace(found, terms=adjusted(terms)) if terms else None


def _common_evaluations(settings: Sequence[Setting], metric: Metric) -> tuple[str, ...]:
    """Evaluation sources that every training source was scored on (its own split counts)."""
    names = evaluation_sources(settings, metric)
    by_source: dict[str, set[str]] = {}
    for setting in settings:
        scored = {
            name
            for name in names
            if name in setting.source_names
            or any(metric.on(name) in run.summary for run in setting.runs)
        }
        by_source.setdefault(setting.source, set()).update(scored)
    return tuple(n for n in names if all(n in scored for scored in by_source.values()))


def _notes(
    runs: Sequence[Run], settings: Sequence[Setting], axes: Sequence[str], sweep: Sweep
) -> list[str]:
    notes = [*_state_notes(runs), *_seed_notes(settings, sweep.metric)]
    undefined = [s for s in settings if s.undefined(sweep.metric.key)]
    if undefined:
        where = _count(len(undefined), "setting")
        notes.append(
            f"{sweep.metric.label.capitalize()} is undefined in {where}: "
            "a vocabulary with an unknown word gives no probability to the original text. "
            "They are listed, but not ranked."
        )
    absent = [
        s
        for s in settings
        if not s.undefined(sweep.metric.key) and s.estimate(sweep.metric.key) is None
    ]
    if absent:
        notes.append(f"{_count(len(absent), 'finished setting')} recorded no {sweep.metric.key}.")
    extra = [axis for axis in axes if sweep.axes and axis not in sweep.axes]
    if extra:
        notes.append(f"Beyond the sweep's axes the runs also differ in {', '.join(extra)}.")
    if "text" in axes:
        notes.append(
            "Perplexity and accuracy count tokens: compare them only within one text option. "
            "Bits per byte compares across all that were scored on the same text."
        )
    notes.extend(_environment_notes([run for s in settings for run in s.runs]))
    notes.extend(
        f"{note} ({_count(times, 'run')})."
        for note, times in Counter(n for run in runs for n in run.notes).most_common()
    )
    return notes


def _state_notes(runs: Sequence[Run]) -> list[str]:
    states = Counter(run.state for run in runs if not run.done)
    notes = [
        f"{_count(times, 'run')} {'has' if times == 1 else 'have'} the state {state} "
        f"and enter{'s' if times == 1 else ''} no number."
        for state, times in states.items()
    ]
    unreadable = sum(run.done and (not run.config or run.seed is None) for run in runs)
    if unreadable:
        runs_left = _count(unreadable, "finished run")
        notes.append(f"{runs_left} without a readable configuration or seed left out.")
    return notes


def _seed_notes(settings: Sequence[Setting], metric: Metric) -> list[str]:
    notes = []
    counts = Counter(len(setting.runs) for setting in settings)
    if len(counts) > 1:
        listed = ", ".join(
            f"{times} with {_count(n, 'seed')}" for n, times in sorted(counts.items())
        )
        notes.append(f"The settings have different numbers of seeds: {listed}.")
    elif counts.keys() == {1}:
        notes.append("One seed only: no interval, and no difference can be told from seed noise.")
    exact = [
        s for s in settings
        if (estimate := s.estimate(metric.key)) and estimate.n > 1 and estimate.sd == 0
    ]  # fmt: skip
    if exact:
        notes.append(
            f"In {_count(len(exact), 'setting')} all seeds gave the same value "
            f"({exact[0].label}{', …' if len(exact) > 1 else ''}): the interval has no width "
            "because the seed has no influence there, not because the result is certain."
        )
    return notes


def _environment_notes(runs: Sequence[Run]) -> list[str]:
    notes = []
    commits = {
        str(mapping(run.environment.get("git")).get("commit"))
        for run in runs
        if run.environment.get("git")
    }
    if len(commits) > 1:
        notes.append(f"The runs come from {len(commits)} different commits of the code.")
    if any(mapping(run.environment.get("git")).get("dirty") for run in runs):
        notes.append("Some runs were made with uncommitted changes in the code.")
    return notes


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
