"""The report as Markdown: the same answer and tables, for a README, a pull request, a notebook."""

from collections.abc import Sequence
from pathlib import Path

from lm_research.analysis import facts, tables
from lm_research.analysis.page import write_text
from lm_research.analysis.render import code_and_text, markdown_text, to_markdown
from lm_research.analysis.runs import Run
from lm_research.analysis.sentences import answer
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import Sweep
from lm_research.config.visible import visible

MARK = "## How to reproduce this"
"""The heading that each of our reports ends under."""


def write_markdown(runs: Sequence[Run], sweep: Sweep, path: Path | str) -> Path:
    """Analyse ``runs`` and write the report as Markdown; returns its path.

    Raises:
        ValueError: as ``report.write_report``.
    """
    return write_study_markdown(analyse(runs, sweep), path)


def write_study_markdown(study: Study, path: Path | str) -> Path:
    """Write the Markdown report of a study that has been analysed; returns its path."""
    return write_text(Path(path), markdown(study), MARK)


def markdown(study: Study) -> str:
    """The report's text."""
    sweep = study.sweep
    parts = [f"# {markdown_text(sweep.title)}\n"]
    if sweep.question:
        parts.append(f"{markdown_text(sweep.question)}\n")
    parts.extend(f"**Warning:** {markdown_text(warning)}\n" for warning in study.warnings)
    parts.append("## The answer\n\n" + _list([code_and_text(s.text) for s in answer(study)]))
    if study.notes:
        parts.append(
            "## To keep in mind\n\n" + _list([markdown_text(note) for note in study.notes])
        )
    parts.append("## The numbers\n")
    parts.extend(to_markdown(table) for table in tables.all_tables(study))
    if study.sources:
        parts.append(to_markdown(tables.data_table(study), level=2))
    parts.append(f"{MARK}\n\n" + _reproduce(study))
    return "\n".join(parts)


def _reproduce(study: Study) -> str:
    lines = [visible(line.replace("```", "'''")) for line in facts.commands(study)]
    code = "```sh\n" + "\n".join(lines) + "\n```\n\n" if lines else ""
    items = [f"{k}: {markdown_text(v)}" for k, v in facts.environment_facts(study)]
    return code + _list(items)


def _list(items: Sequence[str]) -> str:
    return "".join(f"- {item}\n" for item in items)
