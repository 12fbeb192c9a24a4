"""From a folder of runs to tables on the terminal and a report on disk: what the CLI calls."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lm_research.analysis.latex import write_study_latex
from lm_research.analysis.markdown import write_study_markdown
from lm_research.analysis.render import Speller, to_rich
from lm_research.analysis.report import write_study
from lm_research.analysis.runs import Run, find_runs
from lm_research.analysis.sentences import answer
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import load_sweep, runs_of_study
from lm_research.analysis.tables import Table, all_tables
from lm_research.config.visible import visible

ROWS_SHOWN = 120
"""Rows of a table on the terminal."""
_MARKS = {"real": ("● ", "green"), "unclear": ("○ ", "yellow"), "plain": ("– ", "dim")}


def summarise(
    folder: Path | str,
    output: Path | str | None = None,
    console: Console | None = None,
    find: Callable[[Path | str], list[Run]] = find_runs,
) -> Path:
    """Read the runs below ``folder``, print tables and answer, write the report.

    Args:
        folder: a sweep's folder (with ``sweep.yaml``), any folder of runs, or one run.
        output: the HTML file; by default ``folder/report.html``. A copy in
            Markdown (.md) and the tables in LaTeX (.tex) lie beside it.
        console: where to print; by default the terminal.
        find: gives the runs at or below a folder.

    Returns:
        The path of the HTML report.

    Raises:
        FileNotFoundError: if there is no such folder, or no run in it.
        FileExistsError: if a file is in the way that is no report.
        ValueError: if sweep.yaml is wrong, or runs that would be averaged differ in more than the
            seed or repeat a seed.
    """
    path = Path(output) if output is not None else Path(folder) / "report.html"
    if path.suffix != ".html":
        raise ValueError(f"output={path}: must end in .html; a copy in Markdown lies beside it")
    runs = runs_of_study(folder, find(folder))
    study = analyse(runs, load_sweep(folder, runs))
    print_study(study, console or Console())
    write_study(study, path)
    write_study_markdown(study, path.with_suffix(".md"))
    write_study_latex(study, path.with_suffix(".tex"))
    return path


def _cut(table: Table) -> Table:
    """A long table for the terminal: the first rows of each of its parts."""
    if len(table.rows) <= ROWS_SHOWN:
        return table
    starts = sorted({0, *table.breaks})
    most = max(ROWS_SHOWN // len(starts), 3)
    parts = [
        table.rows[start:end][:most]
        for start, end in zip(starts, [*starts[1:], len(table.rows)], strict=True)
    ]
    rows = [row for part in parts for row in part]
    breaks = frozenset(accumulate(map(len, parts[:-1])))
    title = f"{table.title} (the first {len(rows)} of {len(table.rows):,} rows; the report has all)"
    return replace(table, title=title, rows=tuple(rows), breaks=breaks)


def print_study(study: Study, console: Console) -> None:
    """Tables first, so that the answer is what remains on the screen."""
    plain = Speller(console.encoding)
    drawn = all_tables(study)
    for table in drawn:
        console.print(to_rich(_cut(table), console.width, console.encoding))
    for warning in study.warnings:
        console.print(Text(plain(visible(f"Warning: {warning}")), style="bold yellow"))
    notes = list(dict.fromkeys(note for table in drawn for note in table.notes))
    for note in [*notes, *study.notes]:
        console.print(Text(plain(visible(note)), style="dim"))
    console.print()
    for sentence in answer(study):
        mark, style = _MARKS[sentence.kind]
        text = Text(plain(mark), style=style)
        for i, part in enumerate(sentence.text.split("`")):
            text.append(plain(visible(part)), style="bold" if i % 2 else "")
        console.print(Padding(text, (0, 0, 0, 0)))
