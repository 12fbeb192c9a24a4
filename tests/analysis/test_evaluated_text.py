"""Scores of different texts stand side by side: said once, on the terminal and on paper."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.summary import summarise
from lm_research.analysis.sweep import load_sweep

BASE = {"data": "code", "vectorizer": "v", "model": "m"}


@pytest.fixture
def make_texts(make_run):
    """One run for each text option, with the digest of its validation text (None: none)."""

    def make(digests: dict[str, str | None], **evaluated: dict[str, str]) -> Path:
        for text, digest in digests.items():
            split = {"documents": 3, **({"text_sha256": digest} if digest else {})}
            data = {"splits": {"validation": split}, "fingerprint": text}
            others = {
                source: {"text_sha256": by_text[text]} for source, by_text in evaluated.items()
            }
            folder = make_run(
                text, 1, choices={**BASE, "text": text}, data={**data, "evaluated": others}
            )
        return folder.parent

    return make


def warnings(folder: Path) -> tuple[str, ...]:
    return analyse(find_runs(folder), load_sweep(folder)).warnings


def test_equal_texts_need_no_warning(make_texts) -> None:
    assert warnings(make_texts({"byte": "a", "bpe": "a", "word": "a"})) == ()


def test_runs_that_recorded_no_digest_say_nothing(make_texts) -> None:
    assert warnings(make_texts({"byte": None, "bpe": "a"})) == ()


def test_different_texts_are_told_by_the_axis_that_parts_them(make_texts) -> None:
    (warning,) = warnings(make_texts({"byte": "a", "bpe": "a", "web": "b"}))
    assert "validation text of code is not the same in all runs: 2 versions" in warning
    assert "(by text: bpe, byte | web)" in warning
    assert "Bits per byte compares only within one version" in warning


def test_a_long_value_is_cut(make_texts) -> None:
    (warning,) = warnings(make_texts({"byte": "a", "x" * 100: "b"}))
    assert f"(by text: byte | {'x' * 39}…)" in warning


def test_other_sources_are_looked_at_too(make_texts) -> None:
    folder = make_texts(
        {"byte": "a", "web": "a"}, news={"byte": "n", "web": "m"}, talk={"byte": "t", "web": "t"}
    )
    (warning,) = warnings(folder)
    assert "validation text of news" in warning


def test_another_source_has_another_text(make_run) -> None:
    for source in ("code", "news"):
        data = {"splits": {"validation": {"text_sha256": source}}}
        folder = make_run(source, 1, choices={**BASE, "data": source}, data=data)
    assert warnings(folder.parent) == ()


def test_a_source_that_others_are_scored_on_is_compared_with_its_own_runs(make_run) -> None:
    for source, seen in (("code", "c"), ("news", "another")):
        own = {"splits": {"validation": {"text_sha256": source[0]}}}
        data = {**own, "evaluated": {"code": {"text_sha256": seen}}}
        folder = make_run(source, 1, choices={**BASE, "data": source}, data=data)
    (warning,) = warnings(folder.parent)
    assert "(by data: code | news)" in warning


def test_the_warning_is_on_the_terminal_and_in_both_reports(make_texts, tmp_path) -> None:
    folder = make_texts({"byte": "a", "web": "b"})
    console = Console(width=300, file=io.StringIO(), color_system=None)
    path = summarise(folder, tmp_path / "report.html", console)
    (warning,) = warnings(folder)
    lines = console.file.getvalue().splitlines()
    assert lines.count(f"Warning: {warning}") == 1
    assert path.read_text().count(f"<b>Warning:</b> {warning}") == 1
    assert path.with_suffix(".md").read_text().count("**Warning:** The validation text") == 1
