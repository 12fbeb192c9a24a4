"""Tables drawn three ways (terminal, Markdown, HTML), and text made safe to show."""

import html
from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from lm_research.analysis.tables import Cell, Column, Table
from lm_research.config.visible import visible

STAR = "★"
MAX_WORD = 40
"""Longer words may be broken: a path in an error must not push the numbers out."""


# --- terminal ---------------------------------------------------------------------------------


def to_rich(table: Table, width: int = 100, encoding: str = "utf-8") -> RichTable:
    """``table`` for a terminal of ``width`` columns; columns of high rank are left out to fit.

    Nothing in a cell is taken for markup. What ``encoding`` cannot express is spelled in ASCII.
    The notes are the caller's to print, once for all tables.
    """
    fitted, dropped = fit(table, width)
    widths = _wrapped(fitted, width)
    plain = Speller(encoding)
    caption = f"left out to fit {width} columns: {', '.join(dropped)}" if dropped else None
    drawn = RichTable(
        title=Text(plain(visible(fitted.title)), style="bold"),
        caption=Text(plain(visible(caption)), style="dim") if caption else None,
        box=box.SIMPLE_HEAD if encoding.lower().startswith("utf") else box.ASCII2,
        title_justify="left",
        caption_justify="left",
        header_style="bold cyan",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(fitted.columns):
        drawn.add_column(
            Text(plain(visible(column.head))),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric and not widths,
            overflow="fold",
            min_width=_needed(fitted, index) if not widths else None,
            width=widths[index] if widths else None,
        )
    starred = _starred(fitted)
    for index, row in enumerate(fitted.rows):
        cells = [_rich_cell(cell, plain, i in starred) for i, cell in enumerate(row)]
        drawn.add_row(*cells, end_section=index + 1 in fitted.breaks)
    return drawn


def _rich_cell(cell: Cell, plain: "Speller", star: bool) -> Text:
    style = "bold green" if cell.best else "dim" if cell.faint else ""
    mark = f"{STAR} " if star and cell.best else ""
    return Text(plain(mark + visible(cell.text)), style=style)


def fit(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table with the highest-ranked columns left out until it fits, and their heads.

    Text columns count with their longest word only, since they can wrap.
    """
    columns = list(range(len(table.columns)))
    dropped = []
    needed = [_needed(table, i) + 2 for i in columns]
    while sum(needed[i] for i in columns) + 2 > width:
        ranked = [i for i in columns if table.columns[i].rank > 0]
        if not ranked:
            break
        last = max(ranked, key=lambda i: table.columns[i].rank)
        columns.remove(last)
        dropped.append(table.columns[last].head)
    kept = replace(
        table,
        columns=tuple(table.columns[i] for i in columns),
        rows=tuple(tuple(row[i] for i in columns) for row in table.rows),
    )
    return kept, dropped


def _wrapped(table: Table, width: int) -> list[int]:
    """Widths of a matrix that is too wide: its cells wrap between number and interval, its names do
    not. Empty where the table fits, or has other text columns, which give way."""
    places = range(len(table.columns))
    fits = sum(_needed(table, i) + 2 for i in places) + 2 <= width
    if fits or not all(column.numeric for column in table.columns[1:]):
        return []
    least = [_needed(table, i, wraps=True) for i in places]
    spare = max(0, width - sum(least) - 2 * len(least) - 2) // max(1, len(least) - 1)
    return [least[0], *(one + spare for one in least[1:])]


def _needed(table: Table, index: int, wraps: bool = False) -> int:
    column: Column = table.columns[index]
    texts = [column.head, *(row[index].text for row in table.rows)]
    if wraps or not column.numeric:
        texts = [word for text in texts for word in text.split()] or [""]
    star = 2 if index in _starred(table) and not wraps else 0
    return min(max(cell_len(visible(text)) for text in texts) + star, MAX_WORD)


class Speller:
    """Spells text in what an encoding can express."""

    _ASCII = str.maketrans(
        {
            "±": "+-",
            "★": "*",
            "–": "-",
            "−": "-",
            "·": "/",
            "“": '"',
            "”": '"',
            "…": "...",
            "\u00a0": " ",
        }
    )

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding or "ascii"

    def __call__(self, text: str) -> str:
        """``text``, spelled in ASCII if the encoding lacks a character of it."""
        try:
            text.encode(self.encoding)
            return text
        except UnicodeEncodeError:
            spelled = text.translate(self._ASCII)
            return spelled.encode(self.encoding, "backslashreplace").decode(self.encoding)


# --- Markdown ---------------------------------------------------------------------------------


def to_markdown(table: Table, level: int = 3) -> str:
    """A GitHub-flavoured Markdown table under a heading, with its notes as a list."""
    lines = [f"{'#' * level} {markdown_text(table.title)}", ""]
    lines.append(_markdown_row([markdown_text(column.head) for column in table.columns]))
    lines.append(_markdown_row(["---:" if column.numeric else "---" for column in table.columns]))
    starred = _starred(table)
    for row in table.rows:
        lines.append(
            _markdown_row([_markdown_cell(cell, i in starred) for i, cell in enumerate(row)])
        )
    lines.extend(["", *(f"- {markdown_text(note)}" for note in table.notes)])
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cell(cell: Cell, star: bool) -> str:
    text = markdown_text(cell.text)
    return f"**{text}**{f' {STAR}' if star else ''}" if cell.best and text else text


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """``text`` on one line, with Markdown's and HTML's own characters defused."""
    line = visible(" ".join(text.split("\n")))
    for character in "\\`*_[]|#~":
        line = line.replace(character, f"\\{character}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_and_text(text: str) -> str:
    """A sentence whose backticks stay code; everything else is defused."""
    parts = text.split("`")
    return "".join(f"`{visible(p)}`" if i % 2 else markdown_text(p) for i, p in enumerate(parts))


# --- HTML -------------------------------------------------------------------------------------


def to_html(table: Table, *, heading: str = "h3") -> str:
    """A table that scrolls sideways by itself on a narrow screen, with heading and notes."""
    head = "".join(
        f'<th scope="col"{_number_class(column)}>{escape(column.head)}</th>'
        for column in table.columns
    )
    starred = _starred(table)
    body = "".join(
        f"<tr{' class=rule' if index in table.breaks else ''}>"
        + "".join(
            _html_cell(cell, column, i in starred)
            for i, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        )
        + "</tr>"
        for index, row in enumerate(table.rows)
    )
    title = f"<{heading}>{escape(table.title)}</{heading}>" if heading else ""
    return (
        f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{notes_html(table.notes)}"
    )


def notes_html(notes: Sequence[str]) -> str:
    """Notes in small print below what they explain."""
    if not notes:
        return ""
    return '<p class="notes">' + "<br>".join(escape(note) for note in notes) + "</p>"


def escape(text: object) -> str:
    """Text for HTML: invisible characters made visible, then escaped, quotes too."""
    return html.escape(visible(str(text)), quote=True)


def _number_class(column: Column) -> str:
    return " class=number" if column.numeric else ""


def _html_cell(cell: Cell, column: Column, star: bool) -> str:
    classes = [
        name
        for name, on in (
            ("number", column.numeric),
            ("wide", column.wide),
            ("best", cell.best),
            ("faint", cell.faint),
        )
        if on
    ]
    mark = ""
    if star and cell.best:
        mark = f' <span class="star" title="best">{STAR}</span>'
    elif star and column.numeric:  # the star's room, so that the numbers stay aligned
        mark = f' <span class="star none" aria-hidden="true">{STAR}</span>'
    attribute = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{attribute}>{escape(cell.text)}{mark}</td>"


def _starred(table: Table) -> set[int]:
    """The columns whose best cells carry a star: the number's, so that a row has one."""
    numeric = [
        i
        for i, column in enumerate(table.columns)
        if column.numeric and any(row[i].best for row in table.rows)
    ]
    return set(numeric) if numeric else {0}
