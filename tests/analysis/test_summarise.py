import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from lm_research.analysis.summary import summarise


def printed(folder: Path, output: Path | None = None, width: int = 100) -> tuple[Path, str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    path = summarise(folder, output, console)
    return path, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_and_answer_are_printed_and_the_report_written(
    grid: Path, tmp_path: Path, width: int
) -> None:
    path, text = printed(grid, tmp_path / "out" / "demo.html", width)
    assert path == tmp_path / "out" / "demo.html"
    assert path.is_file()
    assert path.with_suffix(".md").is_file()
    for title in ("Trained on (row)", "What each choice does", "The best setting", "Every setting"):
        assert title in text
    assert "● Averaged over the other choices, model lstm is better than rnn" in text
    assert max(cell_len(line) for line in text.splitlines()) <= width


def test_a_hundred_columns_hold_the_numbers_that_matter(grid: Path, tmp_path: Path) -> None:
    _, text = printed(grid, tmp_path / "r.html", 100)
    for head in ("bits/byte", "accuracy", "ppl/token", "tokens/s", "params", "p (Holm)", "verdict"):
        assert head in text
    assert "★" in text


def test_the_report_lies_in_the_folder_by_default(make_grid) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"])
    path, _ = printed(folder)
    assert path == folder / "report.html"
    assert printed(folder)[0] == path  # a second time, with the report in the way


def test_a_single_run_can_be_summarised(make_run) -> None:
    folder = make_run("only")
    path, text = printed(folder)
    assert path == folder / "report.html"
    assert "2.000 (one seed)" in text


def test_an_ascii_terminal_gets_ascii(grid: Path, tmp_path: Path) -> None:
    raw = io.BytesIO()
    console = Console(width=100, file=io.TextIOWrapper(raw, "ascii"), color_system=None)
    summarise(grid, tmp_path / "r.html", console)
    console.file.flush()
    assert b"2.0" in raw.getvalue()


def test_importing_analysis_is_light_and_stays_in_its_room() -> None:
    code = """
import sys, importlib, pkgutil
import lm_research.analysis as room
for module in pkgutil.iter_modules(room.__path__):
    importlib.import_module(f"{room.__name__}.{module.name}")
heavy = {"torch", "hydra", "omegaconf", "wandb", "pytorch_lightning", "plotly", "scipy"}
rooms = {"tasks", "models", "data", "tracking", "cli", "kernels", "vectorizers", "metrics"}
found = {name.split(".")[1] for name in sys.modules if name.startswith("lm_research.")}
print(sorted(heavy & set(sys.modules)), sorted(rooms & found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
