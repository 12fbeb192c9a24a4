"""The report's tables for a paper: LaTeX with booktabs, one ``table`` each."""

from collections.abc import Sequence
from pathlib import Path

from lm_research.analysis.page import write_text
from lm_research.analysis.study import Study
from lm_research.analysis.tables import Cell, Column, Table, all_tables
from lm_research.config.visible import visible

MARK = "% Written by lm_research"
PREAMBLE = f"""{MARK}. In the preamble: \\usepackage{{booktabs, graphicx}}
% With text beyond Latin letters: XeLaTeX or LuaLaTeX.
"""
_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "−": r"$-$", "×": r"$\times$", "·": r"$\cdot$", "–": "--", "…": r"\dots{}",
    "★": r"$\star$", "α": r"$\alpha$", "δ": r"$\delta$", "η": r"$\eta$", "²": r"$^2$",
    "“": "``", "”": "''", "<": r"$<$", ">": r"$>$", "|": r"$|$", "\u00a0": "~",
}  # fmt: skip


def write_study_latex(study: Study, path: Path | str) -> Path:
    """Write the tables of a study; returns the path.

    Raises:
        FileExistsError: ``path`` holds something else than our tables.
    """
    return write_text(Path(path), latex(study), MARK)


def latex(study: Study) -> str:
    """All tables of a study."""
    return "\n".join([PREAMBLE, *map(to_latex, all_tables(study))])


def to_latex(table: Table) -> str:
    """One table, no wider than the text; the best is bold, notes stand below in small print."""
    kinds = "".join(_kind(column) for column in table.columns)
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{latex_text(table.title)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{kinds}}}", r"\toprule",
        _row([latex_text(column.head) for column in table.columns]), r"\midrule",
    ]  # fmt: skip
    for index, row in enumerate(table.rows):
        if index in table.breaks:
            lines.append(r"\midrule")
        lines.append(_row([_cell(cell) for cell in row]))
    lines += [r"\bottomrule", r"\end{tabular}}", *_notes(table.notes), r"\end{table}"]
    return "\n".join(lines) + "\n"


def _kind(column: Column) -> str:
    return "p{6cm}" if column.wide else "r" if column.numeric else "l"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    return rf"\textbf{{{text}}}" if cell.best and text else text


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return [r"\par\smallskip\footnotesize\raggedright", *(latex_text(n) + r"\par" for n in notes)]


def latex_text(text: str) -> str:
    """Text in which nothing is a command."""
    return "".join(
        _COMMANDS.get(character, character) for character in visible(text, keep="\u00a0")
    )
