import base64
import hashlib
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lm_research.analysis import page
from lm_research.analysis.markdown import write_markdown
from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.sweep import Sweep, load_sweep

VOID = {"meta", "link", "br", "path", "circle"}


class Page(HTMLParser):
    """What a browser would see: scripts, attributes, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.stack[-1:] == ["script"]:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.stack[-1:] != ["style"]:
            self.text.append(data)


@pytest.fixture(scope="module")
def report(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    assert write_report(find_runs(grid), load_sweep(grid), path) == path
    return path


@pytest.fixture(scope="module")
def parsed(report: Path) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_it_is_whole_and_has_every_section(parsed: Page) -> None:
    ids = {value for _, name, value in parsed.attributes if name == "id"}
    assert {"answer", "sources", "choices", "settings", "curves", "cost", "samples", "data",
            "reproduce"} <= ids  # fmt: skip
    assert "failures" not in ids
    links = {value for tag, name, value in parsed.attributes if (tag, name) == ("a", "href")}
    assert links
    assert all(link and link[1:] in ids for link in links)


def test_it_asks_the_network_for_nothing(report: Path, parsed: Page) -> None:
    for tag, name, value in parsed.attributes:
        if name in {"src", "href", "action", "srcset", "poster", "data"}:
            assert value is not None
            assert value.startswith(("#", "data:")), (tag, name, value)
    style = re.search(r"<style>(.*?)</style>", report.read_text(encoding="utf-8"), re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_policy_allows_its_own_scripts_and_no_other(parsed: Page) -> None:
    policy = next(
        v for _, name, v in parsed.attributes if name == "content" and v and "default-src" in v
    )
    assert "default-src 'none'" in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    code = [text for kind, text in parsed.scripts if kind is None]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert len(code) == 2
    assert hashes == allowed
    script_source = policy.split("script-src", 1)[1].split(";", 1)[0]
    assert "unsafe" not in script_source


def test_plotly_is_there_once(report: Path, parsed: Page) -> None:
    sizes = [len(text) for kind, text in parsed.scripts if kind is None]
    assert sorted(size > 1_000_000 for size in sizes) == [False, True]
    assert report.stat().st_size < 6_500_000


def test_every_figure_is_placed_and_readable(parsed: Page) -> None:
    places = [value for _, name, value in parsed.attributes if name == "data-figure"]
    figures = [json.loads(text) for kind, text in parsed.scripts if kind == "application/json"]
    assert len(places) == len(figures) == len(set(places))
    # matrix, effects, interactions, settings, curves over tokens and seconds, speed and parameters
    assert len(places) == 1 + 3 + 3 + 2 + 4 + 4
    assert all(figure["data"] for figure in figures)
    assert all(figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)" for figure in figures)


def test_samples_are_text(report: Path, parsed: Page) -> None:
    text = report.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "alert(1)" not in "".join(code for _, code in parsed.scripts)
    assert "\x1b" not in text.replace(page.plotly_source(), "")
    assert "&lt;U+001B&gt;[31m" in text


def test_both_themes_and_small_screens_are_provided_for(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "overflow-x: auto" in text


def test_the_same_runs_give_the_same_bytes(grid: Path, report: Path, tmp_path: Path) -> None:
    again = write_report(find_runs(grid), load_sweep(grid), tmp_path / "again.html")
    assert again.read_bytes() == report.read_bytes()


def test_how_to_reproduce(parsed: Page) -> None:
    text = " ".join(parsed.text)
    assert "lm-research train data=python_code" in text
    assert "/home/me" not in text
    assert "'text.note=two words'" in text
    assert "torch 2.13.0" in text
    assert "4f1c2d9a7b6e" in text
    assert "laptop" not in text


HOSTILE = '"><script>alert(2)</script><img src=x onerror=alert(3)>\u202e\x00</script>'


def test_no_field_can_smuggle_markup(make_run, tmp_path: Path) -> None:
    choices = {"data": HOSTILE, "vectorizer": HOSTILE, "model": "m<b>"}
    for seed in (1, 2):
        folder = make_run(
            str(seed), seed,
            {"val/bits_per_byte": 2.0 + seed / 10, f"eval/{HOSTILE}/bits_per_byte": 3.0 + seed},
            choices=choices, rows=[{"step": 1, "tokens": 5, "val/bits_per_byte": 4.0}],
            samples=[{"step": HOSTILE, "prompt": HOSTILE, "text": HOSTILE + "\ud800"}],
            environment={"python": HOSTILE, "command": HOSTILE, "git": {"commit": HOSTILE}},
            data={"documents": HOSTILE, "fingerprint": HOSTILE},
        )  # fmt: skip
    make_run("bad", 9, state="failed", error=HOSTILE, choices={**choices, "model": HOSTILE})
    sweep = Sweep(HOSTILE, HOSTILE, HOSTILE, axes=("data", "vectorizer", "model"))
    runs = find_runs(folder.parent)
    parsed = Page(write_report(runs, sweep, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not any(tag == "img" or name.startswith("on") for tag, name, _ in parsed.attributes)
    assert not any("alert" in code for kind, code in parsed.scripts if kind is None)
    assert len([kind for kind, _ in parsed.scripts if kind is None]) == 2
    markdown = write_markdown(runs, sweep, tmp_path / "r.md").read_text(encoding="utf-8")
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.S)
    assert "<script" not in outside
    assert "<img" not in outside


def test_failures_are_listed(make_grid, make_run, tmp_path: Path) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"])
    shutil.copytree(make_run("bad", 9, state="failed", error="MemoryError: 3 GB"), folder / "bad")
    text = write_report(find_runs(folder), load_sweep(folder), tmp_path / "r.html").read_text()
    assert 'id="failures"' in text
    assert "MemoryError: 3 GB" in text


def test_no_finished_run_still_gives_a_page(make_run, tmp_path: Path) -> None:
    runs = find_runs(make_run("bad", 9, state="failed", error="boom"))
    text = write_report(runs, Sweep("x", "x"), tmp_path / "r.html").read_text()
    assert "no answer yet" in text
    assert "plotly" not in text.lower()
    Page(text)


def test_a_failed_write_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = page.write_text(tmp_path / "r.html", "old report", "report")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        page.write_text(path, "new report", "report")
    assert path.read_text() == "old report"
    assert list(tmp_path.iterdir()) == [path]


def test_markdown_has_the_answer_and_every_table(grid: Path, tmp_path: Path) -> None:
    path = write_markdown(find_runs(grid), load_sweep(grid), tmp_path / "r.md")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Data, vectorization and architecture on real text\n")
    assert "- Data apart, what moves bits per byte most is the vectorizer" in text
    assert len(re.findall(r"^### ", text, re.M)) == 5
    assert "| python\\_code | **embedding · lstm** |" in text
    assert "## The data" in text
    assert "```sh\nlm-research train data=python_code" in text
