"""The page of several studies that answer one question: Markdown, with its figures as SVG files.

Every number and every sentence comes from recorded runs. What is not done is named.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from lm_research.analysis import facts, plots, tables
from lm_research.analysis.comparisons import Effect
from lm_research.analysis.expectations import ANSWERS, expectation
from lm_research.analysis.page import write_folder
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.sizes import sizes_plot
from lm_research.analysis.plots.svg import to_svg
from lm_research.analysis.render import code_and_text, markdown_text, to_markdown
from lm_research.analysis.sentences import (
    effect_sentences,
    interaction_sentences,
    winner_sentences,
)
from lm_research.analysis.sizes import by_size
from lm_research.analysis.study import Study
from lm_research.analysis.tables import Cell, Column, Table
from lm_research.analysis.tables.ratios import ratio_sentences, ratios_table
from lm_research.config.visible import visible

MARK = "<!-- Written by lm-research study: what is edited here is lost. -->"
MISSING_NAMED = 12
HOW = (
    "A difference is said only where p of the paired t-test over seeds, Holm-adjusted over all "
    "hypotheses of its part (or all options of an axis), is below 0.05; else none is shown, which "
    "is not to say that there is none. Intervals are 95 % t-intervals over seeds, in brackets, and "
    "not widened for the number of comparisons. Hypotheses were written into the parts' files "
    "before the first run; `<` and `>` speak of the metric's value, and a difference of the sign "
    "− goes against what was expected. Figures call what is borne out "
    "supported, and what is not shown undecided; their blue intervals are over seeds, the orange "
    "ones over documents."
)


@dataclass(frozen=True)
class Part:
    """One study of several, and what the page shows of it.

    Args:
        study: its runs, analysed.
        command: that makes it again.
        planned: runs that it means.
        missing: those that are not done, by the names of their folders.
        ratios: (axis, option) of a table of ratios, if one is wanted.
        against: a cost that tells its sizes; they are compared, and drawn along it.
    """

    study: Study
    command: str
    planned: int
    missing: tuple[str, ...] = ()
    ratios: tuple[str, str] | None = None
    against: str | None = None

    @cached_property
    def compared(self) -> Study:
        """The study along the axes that its sentences and tables speak of."""
        return by_size(self.study, self.against) if self.against else self.study


@dataclass
class StudyPage:
    """The page.

    Args:
        title, question: of all parts together.
        command: that runs them all and writes this.
        parts: in order.
        note: said first of all: that these are runs which mean nothing.
    """

    title: str
    question: str
    command: str
    parts: Sequence[Part]
    note: str = ""
    figures: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write ``README.md`` and its figures into ``folder``; returns the page's path.

        Raises:
            FileExistsError: a file is in the way that is none of ours.
        """
        text = self.text()
        return write_folder(folder, text, self.figures, MARK)

    def text(self) -> str:
        """The page's Markdown; its figures are in :attr:`figures` then."""
        parts = [MARK, f"# {markdown_text(self.title)}", markdown_text(self.question)]
        parts += [f"**{markdown_text(self.note)}**"] if self.note else []
        if told := list(self.in_short()):
            parts.append("## In short\n\n" + _list(told))
        parts += [HOW, to_markdown(self.overview(), level=2).rstrip()]
        for part in self.parts:
            parts += self.section(part)
        parts += ["## Machine, versions, commands", _list(self.environment())]
        lines = [self.command, *(part.command for part in self.parts)]
        parts.append("```sh\n" + "\n".join(map(visible, lines)) + "\n```")
        return "\n\n".join(part for part in parts if part) + "\n"

    def in_short(self) -> Iterator[str]:
        """What did best in each part, and whether its lead is more than noise."""
        for part in self.parts:
            if said := " ".join(best(part)):
                name = part.study.sweep.title.partition(":")[0]
                yield f"**{markdown_text(name)}**: {code_and_text(said)}"

    def overview(self) -> Table:
        """Each part's runs, and how its hypotheses came out."""
        heads = [Column("runs done"), *(Column(answer) for answer in ANSWERS.values())]
        rows = []
        for part in self.parts:
            counts = Counter(verdict.outcome for verdict in part.study.hypotheses)
            done = f"{part.planned - len(part.missing)} of {part.planned}"
            cells = (done, *(str(counts[outcome]) for outcome in ANSWERS))
            rows.append((Cell(part.study.sweep.title), *map(Cell, cells)))
        return Table(
            "What was expected, counted", (Column("part", numeric=False), *heads), tuple(rows)
        )

    def section(self, part: Part) -> Iterator[str]:
        """A part: its answers, figures, tables and caveats."""
        study = part.compared
        yield f"## {markdown_text(study.sweep.title)}"
        yield markdown_text(study.sweep.question)
        yield _standing(part)
        if study.hypotheses:
            yield "### Expected, and found\n\n" + _list(list(_answers(study)))
        if said := [code_and_text(text) for text in found(part)]:
            yield "### What the intervals say\n\n" + _list(said)
        for name, drawn in pictures(part).items():
            file = f"{study.sweep.name}_{name}.svg"
            self.figures[file] = to_svg(drawn)
            yield f"![{markdown_text(_plain(drawn))}]({file})"
        yield from (to_markdown(table).rstrip() for table in shown_tables(part))
        caveats = [*study.warnings, *study.notes]
        if caveats:
            yield "### To keep in mind\n\n" + _list([markdown_text(note) for note in caveats])

    def environment(self) -> list[str]:
        """Machine, versions, commit and date of all runs, and their time."""
        studies = [part.study for part in self.parts]
        settings = tuple(setting for study in studies for setting in study.settings)
        runs = tuple(run for study in studies for run in study.runs)
        if not runs:
            return []
        seconds = sum(run.seconds() or 0.0 for run in runs)
        whole = replace(studies[0], settings=settings, runs=runs)
        items = [f"{name}: {markdown_text(v)}" for name, v in facts.environment_facts(whole)]
        return [
            *items,
            f"{len(runs)} runs, {facts.duration(seconds)} of work in all, one core each",
        ]


def _answers(study: Study) -> Iterator[str]:
    for verdict in study.hypotheses:
        said = code_and_text(expectation(verdict, study.metric))
        yield f"**{ANSWERS[verdict.outcome].capitalize()}**: {said}"


def _standing(part: Part) -> str:
    """How many runs there are, of how many seeds, and which are missing."""
    seeds = ", ".join(map(str, part.study.seeds)) or "none"
    done = part.planned - len(part.missing)
    settings = len(part.study.settings)
    text = f"{done} of {part.planned} runs are done, {settings} settings, seeds {seeds}."
    if not part.missing:
        return text
    named = ", ".join(f"`{visible(name)}`" for name in part.missing[:MISSING_NAMED])
    more = len(part.missing) - MISSING_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"**Incomplete.** {text} Not done, and in no number below: {named}{rest}."


def best(part: Part) -> Iterator[str]:
    """What a part comes to: ratios, models over their sizes, the best source, or settings."""
    study = part.compared
    if part.ratios is not None and part.ratios[0] in study.axes:
        yield from ratio_sentences(study, *part.ratios)
    elif part.against is not None:
        for effect in study.effects[:1]:
            yield from (sentence.text for sentence in effect_sentences(effect, study.metric))
    elif study.one_a_source:
        yield from (_best_source(effect, study) for effect in study.effects)
    else:
        yield from (sentence.text for sentence in winner_sentences(study.winners, study.metric))


def _best_source(effect: Effect, study: Study) -> str:
    first, *others = effect.levels
    beaten, mean, metric = sum(level.real for level in others), first.estimate, study.metric
    reached = ""
    if mean is not None:
        spread = f" {metric.plus_minus(mean.half_width)}".rstrip()
        reached = f" at {metric.text(mean.mean)}{spread} {metric.label}"
    return (
        f"On the mean of {len(effect.evaluations)} evaluation sources training on `{first.value}` "
        f"does best{reached}; its lead is real over {beaten} of the other {len(others)}."
    )


def found(part: Part) -> Iterator[str]:
    """Sentences of each axis, of interactions, and of each source's best, all from intervals.

    Of ratios alone where a part is of them: what else it measured is of one machine.
    """
    study = part.compared
    if part.ratios is not None and part.ratios[0] in study.axes:
        yield from ratio_sentences(study, *part.ratios)
        yield from (sentence.text for sentence in interaction_sentences(study.factorial))
        return
    for effect in study.effects:
        yield from (sentence.text for sentence in effect_sentences(effect, study.metric))
    yield from (sentence.text for sentence in interaction_sentences(study.factorial))
    if not study.one_a_source:
        yield from (sentence.text for sentence in winner_sentences(study.winners, study.metric))


def pictures(part: Part) -> dict[str, Figure]:
    """Name -> figure: what the part's kind is looked at by, and its hypotheses."""
    study, drawn = part.compared, dict[str, Figure]()
    two_axes = len(study.axes) == 2 and study.factorial is not None
    if study.matrix is not None and len(study.matrix.rows) > 1:
        drawn["matrix"] = plots.matrix_plot(study, study.matrix)
    elif part.against is not None and study.settings:
        drawn["sizes"] = sizes_plot(study, part.against)
    elif two_axes and (pairs := plots.interaction_plots(study)):
        drawn |= {"means": pairs[0]}
    else:
        drawn |= {
            f"settings_{s}" if s else "settings": f for s, f in plots.setting_plots(study).items()
        }
    if any(verdict.difference for verdict in study.hypotheses):
        drawn["expected"] = plots.hypotheses_plot(study)
    return drawn


def shown_tables(part: Part) -> Iterator[Table]:
    """The part's tables; the rest are in its own report."""
    study = part.compared
    if study.matrix is not None and study.matrix.cells:
        yield from tables.source_tables(study, study.matrix)
        yield from filter(None, [tables.mixtures_table(study)])
    if part.ratios is not None and part.ratios[0] in study.axes:
        yield ratios_table(study, *part.ratios)
    if study.settings and not study.one_a_source:
        yield tables.ablation_table(study)
    yield from tables.baseline_tables(study)


def _plain(drawn: Figure) -> str:
    """A figure's title as text."""
    title = str(drawn.layout["title"]["text"])
    for code, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        title = title.replace(code, character)
    return title


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
