"""The HTML report: the question, the answer, the numbers behind it, and how to get them again."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_research.analysis import facts, plots, tables
from lm_research.analysis.page import MARK, page, placed, write_text
from lm_research.analysis.palette import COLOURS, DASHES, SYMBOLS, Encoding, encode
from lm_research.analysis.render import escape, notes_html, to_html
from lm_research.analysis.runs import Run
from lm_research.analysis.sentences import answer
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import Sweep
from lm_research.config.visible import visible

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SAMPLE_CHARACTERS = 700
SAMPLES_SHOWN = 30  # settings of a source, the best
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
            ("sources", "Source by source", self.matrix),
            ("choices", "What each choice does", self.effects),
            ("settings", "Every setting", self.ablation),
            ("curves", "Learning curves", self.curves),
            ("speed", "Quality against speed", self.speed),
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

    def place(self, figure: "Figure", min_width: int = 0) -> str:
        self.figures.append(figure)
        return placed(figure, len(self.figures) - 1, min_width)

    def facets(self, figures: Iterable["Figure"], legend: str = "", *, narrow: bool = True) -> str:
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
        if matrix is None or not matrix.cells:
            return ""
        width = 130 + 100 * len(matrix.columns)
        drawn = self.place(plots.matrix_plot(self.study, matrix), width)
        table = to_html(tables.matrix_table(self.study, matrix))
        notes = [
            "The stronger the colour, the closer to the best of its column, which is bold.",
            *tables.matrix_notes(self.study, matrix),
        ]
        return f"{drawn}{notes_html(notes)}<details><summary>As a table</summary>{table}</details>"

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
        winners = to_html(tables.winners_table(self.study)) if self.study.winners else ""
        return (
            f"{drawn}{notes if drawn else ''}{winners}{to_html(tables.ablation_table(self.study))}"
        )

    def curves(self) -> str:
        legend = legend_html(encode(self.study.settings), lines=True)
        drawn = self.facets(plots.curve_plots(self.study).values(), legend)
        notes = notes_html(["Line: mean over seeds; band: from the lowest to the highest seed."])
        return drawn + notes if drawn else ""

    def speed(self) -> str:
        legend = legend_html(encode(self.study.settings), lines=False)
        return self.facets(plots.speed_plots(self.study).values(), legend)

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


def emphasised(text: str) -> str:
    """A sentence as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def escape_lines(text: str) -> str:
    """Text for ``<pre>``: line ends and tabs stay, other invisible characters are shown."""
    return html.escape(visible(text.replace("\r\n", "\n"), keep="\n\t"), quote=True)


def sample_html(setting: Setting) -> str:
    """The last samples of a setting's first seed, the prompt set off; empty without one."""
    found = facts.last_samples(setting.runs)
    if found is None:
        return ""
    run, samples = found
    drawn = "".join(f"<pre>{continuation_html(sample)}</pre>" for sample in samples)
    where = f"{setting.label} · seed {run.seed} · step {samples[0].get('step', '?')}"
    return f'<div class="sample"><p>{escape(where)}</p>{drawn}</div>'


def continuation_html(sample: Mapping[str, Any]) -> str:
    """Prompt and continuation, cut to a readable length."""
    prompt, text = str(sample.get("prompt") or ""), str(sample["text"])
    if len(text) > SAMPLE_CHARACTERS:
        text = text[:SAMPLE_CHARACTERS] + " …"
    shown = f'<span class="prompt">{escape_lines(prompt)}</span>' if prompt.strip() else ""
    return shown + escape_lines(text)


def data_card(card: dict[str, str]) -> str:
    """One source's card."""
    rest = {k: v for k, v in card.items() if k not in {"source", "category", "language"}}
    badges = "".join(
        f'<span class="badge">{escape(card[k])}</span>'
        for k in ("category", "language")
        if k in card
    )
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rest.items())
    return f'<div class="card"><h3>{escape(card["source"])}{badges}</h3><dl>{items}</dl></div>'


_SHAPES = {
    "circle": '<circle cx="8" cy="7" r="4.5"/>',
    "diamond": '<path d="M8 1.5 13.5 7 8 12.5 2.5 7z"/>',
    "square": '<path d="M4 3h8v8H4z"/>',
    "triangle-up": '<path d="M8 2l5.5 9.5h-11z"/>',
    "cross": '<path d="M6 2h4v3h3v4h-3v3H6V9H3V5h3z"/>',
    "x": '<path d="M4 2l4 3 4-3 2 2-4 3 4 3-2 2-4-3-4 3-2-2 4-3-4-3z"/>',
}
_DASHES = {
    "solid": "", "dot": "2 3", "dash": "6 4", "dashdot": "6 3 2 3", "longdash": "9 4",
    "longdashdot": "9 3 2 3",
}  # fmt: skip


def legend_html(encoding: Encoding, *, lines: bool) -> str:
    """One legend for all plots of a section: colours, then symbols or dashes."""
    parts = []
    if encoding.colour_axis:
        parts.append(f'<span class="axis">{escape(encoding.colour_axis)}</span>')
        for i, name in enumerate(encoding.colours):
            swatch = f'<path d="M2 3h12v8H2z" fill="{COLOURS[i % len(COLOURS)]}"/>'
            parts.append(_legend_item(swatch, name))
    if encoding.shape_axis:
        parts.append(f'<span class="axis">{escape(encoding.shape_axis)}</span>')
        for i, name in enumerate(encoding.shapes):
            dash = _DASHES[DASHES[i % len(DASHES)]]
            line = (
                '<path d="M0 7h28" stroke="currentColor" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
            shape = f'<g fill="currentColor">{_SHAPES[SYMBOLS[i % len(SYMBOLS)]]}</g>'
            parts.append(_legend_item(line if lines else shape, name, 28 if lines else 16))
    return f'<div class="legend">{"".join(parts)}</div>' if parts else ""


def _legend_item(drawing: str, name: str, width: int = 16) -> str:
    svg = f'<svg width="{width}" height="14" aria-hidden="true">{drawing}</svg>'
    return f"<span>{svg}{escape(name)}</span>"
