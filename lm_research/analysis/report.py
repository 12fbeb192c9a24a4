"""The HTML report: the question, the answer, the numbers behind it, and how to get them again."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lm_research.analysis import facts, plots, tables
from lm_research.analysis.cards import data_card, emphasised, escape_lines, sample_html
from lm_research.analysis.legend import legend_html
from lm_research.analysis.page import MARK, page, placed, write_text
from lm_research.analysis.palette import encode
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.render import escape, notes_html, to_html
from lm_research.analysis.runs import Run
from lm_research.analysis.sentences import answer
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import Sweep

SAMPLES_SHOWN = 30
"""Settings of a source, the best, whose samples are shown."""
COMMANDS_SHOWN = 5


def write_report(runs: Sequence[Run], sweep: Sweep, path: Path | str) -> Path:
    """Analyse ``runs`` and write one self-contained HTML file; returns its path.

    The same runs give the same bytes. The file is replaced as a whole or not at all.

    Raises:
        ValueError: if runs that would be averaged differ in more than the seed, or repeat a seed.
    """
    return write_study(analyse(runs, sweep), path)


def write_study(study: Study, path: Path | str) -> Path:
    """Write the report of a study that has been analysed; returns its path."""
    writer = _Writer(study)
    sections = list(writer.sections())
    header = writer.header()
    return write_text(Path(path), page(study.sweep.title, header, sections, writer.figures), MARK)


class _Writer:
    """Assembles the sections and collects the figures that they place."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.figures: list[Figure] = []
        self.contents: list[tuple[str, str]] = []

    def sections(self) -> Iterable[str]:
        parts: list[tuple[str, str, Callable[[], str]]] = [
            ("published", "Published and ours", self.published),
            ("expected", "What was expected", self.hypotheses),
            ("search", "The search", self.search),
            ("sources", "Source by source", self.matrix),
            ("transfer", "What pretraining is worth", self.transfer),
            ("choices", "What each choice does", self.effects),
            ("factorial", "Main effects and interactions", self.factorial),
            ("settings", "Every setting", self.ablation),
            ("baselines", "Beside its baselines", self.baselines),
            ("classes", "Class by class", self.classes),
            ("written", "What was written", self.written),
            ("curves", "Learning curves", self.curves),
            ("scaling", "Scaling", self.scaling),
            ("cost", "Quality against cost", self.cost),
            ("samples", "Samples", self.samples),
            ("data", "The data", self.data),
            ("failures", "Failed and unfinished runs", self.failures),
            ("reproduce", "How to reproduce this", self.reproduce),
        ]
        yield self.answer()
        for name, title, build in parts:
            if body := build():
                self.contents.append((name, title))
                yield f'<section id="{name}"><h2>{title}</h2>{body}</section>'

    def header(self) -> str:
        sweep = self.study.sweep
        links = "".join(f'<a href="#{name}">{title}</a>' for name, title in self.contents)
        question = f'<p class="question">{escape(sweep.question)}</p>' if sweep.question else ""
        return (
            f'<header><p class="eyebrow">lm_research · {escape(sweep.name)}</p>'
            f"<h1>{escape(sweep.title)}</h1>{question}<nav>{links}</nav></header>"
        )

    def place(self, figure: Figure, min_width: int = 0) -> str:
        self.figures.append(figure)
        return placed(figure, len(self.figures) - 1, min_width)

    def facets(self, figures: Iterable[Figure], legend: str = "", *, narrow: bool = True) -> str:
        drawn = "".join(self.place(figure) for figure in figures)
        kind = "facets narrow" if narrow else "facets"
        return f'{legend}<div class="{kind}">{drawn}</div>' if drawn else ""

    # --- sections -----------------------------------------------------------------------------

    def answer(self) -> str:
        sentences = answer(self.study)
        listed = "".join(f'<li class="{s.kind}">{emphasised(s.text)}</li>' for s in sentences)
        key = ""
        if any(s.kind != "plain" for s in sentences):
            key = notes_html(
                ["● beyond seed noise (p < 0.05 after Holm's correction)", "○ not shown to be"]
            )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.study.notes)
        caveats = (
            f'<div class="caveats"><b>To keep in mind</b><ul>{notes}</ul></div>' if notes else ""
        )
        warnings = "".join(
            f'<p class="warning"><b>Warning:</b> {escape(warning)}</p>'
            for warning in self.study.warnings
        )
        body = f"<h2>The answer</h2>{warnings}<ul>{listed}</ul>{key}{caveats}"
        return f'<div class="answer" id="answer">{body}</div>{self.numbers()}'

    def numbers(self) -> str:
        cards = "".join(
            f"<div><strong>{escape(number)}</strong><span>{escape(what)}</span>"
            f"<small>{escape(detail)}</small></div>"
            for number, what, detail in facts.key_numbers(self.study)
        )
        fixed = facts.fixed_choices(self.study)
        held = ", ".join(f"{escape(group)} <code>{escape(v)}</code>" for group, v in fixed.items())
        return f'<div class="numbers">{cards}</div>' + (
            f'<p class="notes">Held fixed: {held}.</p>' if held else ""
        )

    def matrix(self) -> str:
        matrix = self.study.matrix
        beside = (tables.contamination_table(self.study), tables.mixtures_table(self.study))
        clean = "".join(to_html(table) for table in beside if table)
        if matrix is None or not matrix.cells:
            return clean
        width = 130 + 100 * len(matrix.columns)
        drawn = self.place(plots.matrix_plot(self.study, matrix), width)
        table = "".join(map(to_html, tables.source_tables(self.study, matrix)))
        notes = [
            "The stronger the colour, the closer to the best of its column, which is bold.",
            *tables.matrix_notes(self.study, matrix),
        ]
        heads = "As tables: intervals over seeds, over documents, clean documents"
        more = f"<details><summary>{heads}</summary>{table}</details>"
        return f"{drawn}{notes_html(notes)}{more}{clean}"

    def transfer(self) -> str:
        table = tables.transfer_table(self.study)
        return to_html(table) if table is not None else ""

    def effects(self) -> str:
        if not self.study.effects:
            return ""
        drawn = self.facets(plots.effect_plots(self.study))
        notes = notes_html(
            ["Bars: 95 % intervals over seeds. Hollow: not distinguishable from the best."]
        )
        return drawn + notes + to_html(tables.effects_table(self.study))

    def ablation(self) -> str:
        if not self.study.settings:
            return ""
        legend = legend_html(encode(self.study.settings), lines=False)
        drawn = self.facets(plots.setting_plots(self.study).values(), legend, narrow=False)
        notes = notes_html(["Points: mean and 95 % interval over seeds. Ticks: the single seeds."])
        won = self.study.winners and not self.study.one_a_source
        winners = to_html(tables.winners_table(self.study)) if won else ""
        return (
            f"{drawn}{notes if drawn else ''}{winners}{to_html(tables.ablation_table(self.study))}"
        )

    def baselines(self) -> str:
        return "".join(to_html(table) for table in tables.baseline_tables(self.study))

    def written(self) -> str:
        drawn = self.facets(plots.attention_plots(self.study), narrow=False)
        key = "Attention: a row is a written token; the stronger, the more it looked there."
        shown = "".join(to_html(table) for table in tables.written_tables(self.study))
        return f"{shown}{drawn}{notes_html([key]) if drawn else ''}"

    def classes(self) -> str:
        found = (*tables.class_tables(self.study), *tables.multilabel_tables(self.study))
        wrong = "".join(to_html(table) for table in tables.mistake_tables(self.study))
        more = f"<details><summary>What it gets wrong</summary>{wrong}</details>" if wrong else ""
        drawn = self.facets(plots.class_curve_plots(self.study))
        key = (
            "Each class against all others, on the validation split; beside its name the area. "
            "Reliability: points are bins of equal width; below the diagonal the model is too sure."
        )
        return f"{''.join(map(to_html, found))}{drawn}{notes_html([key]) if drawn else ''}{more}"

    def published(self) -> str:
        table = tables.published_table(self.study)
        return to_html(table, heading="") if table is not None else ""

    def hypotheses(self) -> str:
        if not self.study.hypotheses:
            return ""
        tested = any(verdict.difference for verdict in self.study.hypotheses)
        drawn = self.place(plots.hypotheses_plot(self.study)) if tested else ""
        key = notes_html(
            ["Blue: 95 % interval over seeds, hollow where undecided. Orange: over documents."]
        )
        table = to_html(tables.hypotheses_table(self.study), heading="")
        return f"{drawn}{key if drawn else ''}{table}"

    def factorial(self) -> str:
        found = self.study.factorial
        if found is None:
            return ""
        drawn = self.facets(plots.interaction_plots(self.study))
        key = notes_html(
            ["Means with 95 % intervals. Parallel lines: the one choice does the same whatever the "
             "other is."]
        )  # fmt: skip
        contrasts = "".join(
            to_html(tables.contrasts_table(self.study.metric, term)) for term in found.terms
        )
        table = to_html(tables.factorial_table(self.study, found), heading="")
        more = f"<details><summary>Every contrast</summary>{contrasts}</details>"
        return f"{drawn}{key if drawn else ''}{table}{more}"

    def curves(self) -> str:
        legend = legend_html(encode(self.study.settings), lines=True)
        tokens, seconds = (
            plots.curve_plots(self.study, "tokens"), plots.curve_plots(self.study, "seconds")
        )  # fmt: skip
        drawn = self.facets(tokens.values(), legend) + self.facets(seconds.values())
        notes = notes_html(
            ["Line: mean over seeds; band: from the lowest to the highest seed. Over seconds, a "
             "point stands at the mean time that its seeds took to reach its tokens."]
        )  # fmt: skip
        return drawn + notes if drawn else ""

    def scaling(self) -> str:
        if not self.study.scaling:
            return ""
        drawn = self.facets(plots.scaling_plots(self.study), narrow=False)
        notes = notes_html(["Points: runs. Line: the law; band: its 95 % bootstrap interval."])
        return drawn + notes + to_html(tables.scaling_table(self.study), heading="")

    def cost(self) -> str:
        legend = legend_html(encode(self.study.settings), lines=False)
        return self.facets(plots.cost_plots(self.study), legend)

    def search(self) -> str:
        drawn = plots.search_plot(self.study)
        key = "A line is a trial, from what it tried to its score on the right; orange: the best."
        return self.place(drawn) + notes_html([key]) if drawn is not None else ""

    def samples(self) -> str:
        parts = []
        for source in self.study.sources:
            found = [s for s in map(sample_html, self.study.of_source(source)[:SAMPLES_SHOWN]) if s]
            if found:
                rest = "".join(found[1:])
                more = f"<details><summary>{len(found) - 1} more</summary>{rest}</details>"
                parts.append(f"<h3>{escape(source)}</h3>{found[0]}{more if rest else ''}")
        note = notes_html(["Written on from the prompt; the best setting of each source first."])
        return note + "".join(parts) if parts else ""

    def data(self) -> str:
        cards = "".join(data_card(facts.data_facts(self.study, s)) for s in self.study.sources)
        return f'<div class="cards">{cards}</div>' if cards else ""

    def failures(self) -> str:
        return (
            to_html(tables.failures_table(self.study), heading="") if self.study.unfinished else ""
        )

    def reproduce(self) -> str:
        lines = facts.commands(self.study)
        shown = "\n".join(lines[:COMMANDS_SHOWN])
        rest = "\n".join(lines[COMMANDS_SHOWN:])
        code = f"<pre>{escape_lines(shown)}</pre>" if shown else ""
        if rest:
            count = len(lines) - COMMANDS_SHOWN
            code += (
                f"<details><summary>{count} more</summary><pre>{escape_lines(rest)}</pre></details>"
            )
        items = "".join(
            f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>"
            for k, v in facts.environment_facts(self.study)
        )
        return f"{code}<dl>{items}</dl>" if code or items else ""
