import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.analysis.latex import latex, latex_text, to_latex, write_study_latex
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import Cell, Column, Table, all_tables


@pytest.fixture(scope="module")
def study(rich_grid: Path) -> Study:
    return analyse(find_runs(rich_grid), load_sweep(rich_grid))


def test_a_table_in_full() -> None:
    table = Table(
        "A & B", (Column("name", numeric=False), Column("bits")),
        ((Cell("one_hot"), Cell("2.0 ±0.1", best=True)), (Cell("x"), Cell(""))), ("50 % off",),
        frozenset({1}),
    )  # fmt: skip
    lines = to_latex(table).splitlines()
    assert lines[2] == r"\caption{A \& B}"
    assert r"\begin{tabular}{lr}" in lines
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule")]
    assert body == [
        r"\toprule", r"name & bits \\", r"\midrule", r"one\_hot & \textbf{2.0 $\pm$0.1} \\",
        r"\midrule", r"x &  \\",
    ]  # fmt: skip
    assert lines[-2] == r"50 \% off\par"


def test_every_table_is_balanced_and_has_its_columns(study: Study) -> None:
    text = latex(study)
    for kind in ("table", "tabular"):
        assert text.count(rf"\begin{{{kind}}}") == len(all_tables(study))
        assert text.count(rf"\end{{{kind}}}") == len(all_tables(study))
    for kinds, body in re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\\end", text, re.S):
        columns = len(re.findall(r"p\{6cm|[lr]", kinds))
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
    assert text.isascii()


@given(st.text(st.characters(codec=None)))
def test_no_text_is_a_command(text: str) -> None:
    shown = latex_text(text)
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|dots)\{\}", "", shown)
    bare = re.sub(r"\$(\\[a-z]+|[-<>|]|\^2)\$", "", bare)
    bare = re.sub(r"\\[{}&%$#_]", "", bare)
    assert not set("\\{}&%$#_^") & set(bare)
    assert "\n" not in shown


def test_it_replaces_its_own_file_and_no_other(study: Study, tmp_path: Path) -> None:
    path = write_study_latex(study, tmp_path / "r.tex")
    assert write_study_latex(study, path).read_text().startswith("% Written by lm_research")
    path.write_text(r"\documentclass{article}")
    with pytest.raises(FileExistsError, match=r"r\.tex"):
        write_study_latex(study, path)
