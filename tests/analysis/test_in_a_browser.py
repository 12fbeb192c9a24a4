"""The report as a reader sees it: in Chromium, on a phone and a desk, light and dark."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.sweep import load_sweep

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCHEMES = ("light", "dark")
WIDTHS = (390, 1280)
LOOK = """() => {
  const wide = document.documentElement.clientWidth;
  const named = (e) => `${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 40)}`;
  const own = (e) => !e.closest("#js-plotly-tester");  // plotly measures there, out of sight
  const outside = [...document.querySelectorAll("body *")].filter(own).filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width && (box.right > wide + 1 || box.left < -1) && !e.closest(".scroll");
  });
  const plots = [...document.querySelectorAll(".plot")];
  const cut = plots.flatMap((plot) => {
    const around = plot.getBoundingClientRect();
    const sticksOut = (box) => box.width && (box.left < around.left - 1 ||
      box.right > around.right + 1 || box.top < around.top - 1 || box.bottom > around.bottom + 1);
    return [...plot.querySelectorAll("text")].filter((t) => sticksOut(t.getBoundingClientRect()));
  });
  const drawn = (plot) => plot.querySelector(".trace, .hm, .heatmaplayer image");
  const style = getComputedStyle(document.body);
  return {
    scrolls: document.documentElement.scrollWidth - wide,
    outside: outside.map(named), cut: cut.map(named), plots: plots.length,
    empty: plots.filter((plot) => !drawn(plot)).map((plot) => plot.dataset.figure),
    ink: style.color, page: style.backgroundColor,
    drawn: plots.length ? plots[0].querySelector("text").style.fill : "",
  };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; a machine need not have one."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(rich_grid: Path, sizes: Path, search: Path) -> dict[str, Path]:
    """Reports that together have every section."""
    return {
        folder.name: write_report(find_runs(folder), load_sweep(folder), folder / "report.html")
        for folder in (rich_grid, sizes, search)
    }


def look(browser: Any, report: Path, width: int, scheme: str) -> dict[str, Any]:
    """Open the page; what it shows, what it asked for, what it complained of."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.data)")
    for details in page.query_selector_all("summary"):
        details.click()
    seen: dict[str, Any] = page.evaluate(LOOK)
    if folder := os.environ.get("SCREENSHOTS"):
        name = f"{report.parent.name}-{width}-{scheme}.png"
        page.screenshot(path=Path(folder) / name, full_page=True)
    page.close()
    return {**seen, "complaints": complaints, "asked": asked}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "plots"), [("demo", 18), ("sizes", 6), ("search", 2)])
def test_every_plot_is_drawn_and_nothing_overflows(
    browser: Any, reports: dict[str, Path], name: str, plots: int, width: int, scheme: str
) -> None:
    seen = look(browser, reports[name], width, scheme)
    assert seen["complaints"] == []
    assert seen["asked"] == [reports[name].as_uri()]
    assert seen["plots"] == plots
    assert seen["empty"] == []
    assert (seen["scrolls"], seen["outside"]) == (0, [])
    assert seen["cut"] == []
    light = (seen["page"] == "rgb(255, 255, 255)") == (scheme == "light")
    assert light
    assert contrast(seen["ink"], seen["page"]) > 7
    assert contrast(seen["drawn"], seen["page"]) > 7


def contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio of two CSS colours "rgb(r, g, b)"."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
