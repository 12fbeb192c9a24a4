import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lm_research.analysis.render import (
    Speller,
    escape,
    fit,
    markdown_text,
    to_html,
    to_markdown,
    to_rich,
    visible,
)
from lm_research.analysis.tables import Cell, Column, Table

TABLE = Table(
    "Title",
    (
        Column("name", numeric=False),
        Column("bits"),
        Column("speed", rank=2),
        Column("size", rank=1),
    ),
    (
        (Cell("alpha", True), Cell("1.000 ±0.1", True), Cell("12k"), Cell("9")),
        (Cell("beta"), Cell("2.000"), Cell("–", faint=True), Cell("10")),
    ),
    ("A note.",),
    frozenset({1}),
)


def drawn(table: Table, width: int = 100, encoding: str = "utf-8") -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(table, width, encoding))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a<U+001B>[31mb"),
        ("a\nb\tc\x00", "a<U+000A>b<U+0009>c<U+0000>"),
        ("a\u202eb\u200bc\ufeff", "a<U+202E>b<U+200B>c<U+FEFF>"),
        ("\x7f\x85\u2028", "<U+007F><U+0085><U+2028>"),
        ("\ud800", "<U+D800>"),
        ("naïve 酒店 🙂 ±", "naïve 酒店 🙂 ±"),
    ],
)
def test_what_is_invisible_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_some_control_characters_may_stay() -> None:
    assert visible("a\n\tb\r", keep="\n\t") == "a\n\tb<U+000D>"


@given(st.text(st.characters(codec=None)))
def test_escaped_text_is_inert_and_encodes(text: str) -> None:
    shown = escape(text)
    assert not set("<>\"'") & set(shown)
    shown.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)


@given(st.text(st.characters(codec=None)))
def test_markdown_text_is_one_line_without_markup(text: str) -> None:
    shown = markdown_text(text)
    shown.encode()
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|`*_\[\]]|<|>", shown.replace("\\\\", ""))


def test_rich_takes_no_cell_for_markup() -> None:
    table = replace(TABLE, rows=((Cell("[red]x[/red]"), Cell("[/]"), Cell("\x1b[2J"), Cell("1")),))
    text = drawn(table)
    assert "[red]x[/red]" in text
    assert "[/]" in text
    assert "\x1b" not in text


def test_the_best_is_marked_in_every_output() -> None:
    assert "★ 1.000 ±0.1" in drawn(TABLE)
    assert "**1.000 ±0.1** ★" in to_markdown(TABLE)
    assert re.search(r'class="number best">1\.000 ±0\.1 <span class="star"', to_html(TABLE))


def test_columns_of_high_rank_go_first() -> None:
    assert fit(TABLE, 100) == (TABLE, [])
    for width, left in ((34, ["speed"]), (28, ["speed", "size"]), (5, ["speed", "size"])):
        kept, dropped = fit(TABLE, width)
        assert dropped == left, width
        assert [len(row) for row in kept.rows] == [len(kept.columns)] * 2


@pytest.mark.parametrize("width", [100, 34, 28])
def test_numbers_are_whole_at_any_width(width: int) -> None:
    text = drawn(TABLE, width)
    assert "1.000 ±0.1" in text
    assert max(cell_len(line) for line in text.splitlines()) <= width


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = drawn(TABLE, encoding="ascii")
    assert text.isascii()
    assert "* 1.000 +-0.1" in text
    assert Speller("ascii")("酒 – ★") == "\\u9152 - *"


def test_markdown_has_a_row_each_and_aligns_numbers() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[0] == "### Title"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert [line.count("|") for line in lines[2:6]] == [5] * 4
    assert lines[-1] == "- A note."


def test_html_escapes_everything() -> None:
    evil = '<script>alert("x")</script>'
    table = Table(evil, (Column(evil),), ((Cell(evil),),), (evil,))
    html = to_html(table)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4


def test_a_matrix_without_room_wraps_and_keeps_its_names() -> None:
    columns = (Column("trained on", numeric=False), *(Column(f"source_{i}") for i in range(5)))
    cells = [Cell(f"4.26{i} ±0.261") for i in range(5)]
    table = Table("t", columns, ((Cell("without_python_docs"), *cells),))
    console = Console(width=80, file=io.StringIO())
    console.print(to_rich(table, 80))
    said = console.file.getvalue()
    words = ["trained", "without_python_docs", *(f"4.26{i}" for i in range(5)), "source_4"]
    assert all(word in said for word in words), said
    assert said.count("±0.261") == 5
