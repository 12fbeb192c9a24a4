"""Speed-up over torch.nn by hidden size: a page of its own, and a PNG where kaleido is there."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_suite.points import CELLS, DTYPES, MODES, Point
from kernel_suite.ratios import OURS, of_layers, speed_ups
from kernel_suite.store import Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = dict(zip(DTYPES, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))


def write(table: Table, about: dict, beside: Path) -> list[Path]:
    """Returns the files; none if there is nothing to draw."""
    made = []
    for name in OURS:
        found = speed_ups(table, name, of_layers)
        if not found:
            continue
        drawn = figure(found, name, about)
        page = beside.with_name(f"{beside.stem}-{name}.html")
        drawn.write_html(page, include_plotlyjs=True)
        made.append(page)
        if find_spec("kaleido"):
            drawn.write_image(page.with_suffix(".png"), width=1300, height=800)
            made.append(page.with_suffix(".png"))
    return made


def figure(found: dict[Point, float], name: str, about: dict) -> "Figure":
    """A panel for each cell and mode; a dot for each point, coloured by type."""
    from plotly.subplots import make_subplots

    titles = [f"{cell}, {mode}" for mode in MODES for cell in CELLS]
    drawn = make_subplots(len(MODES), len(CELLS), subplot_titles=titles, shared_yaxes=True)
    for row, mode in enumerate(MODES, 1):
        for column, cell in enumerate(CELLS, 1):
            here = {p: r for p, r in found.items() if (p.cell, p.mode) == (cell, mode)}
            first = row == column == 1
            _panel(drawn, here, {"row": row, "col": column}, first)
    label = "DRY RUN: " if about["dry_run"] else ""
    drawn.update_layout(title=f"{label}{name} over torch.nn, {about['device']}, {about['date']}")
    drawn.update_layout(template="plotly_white", boxmode="group", height=800)
    drawn.update_yaxes(type="log", title_text="times faster", col=1)
    drawn.update_xaxes(type="category", title_text="hidden size", row=len(MODES))
    return drawn


def _panel(drawn: "Figure", found: dict[Point, float], place: dict, legend: bool) -> None:
    points = sorted(found, key=lambda p: (p.hidden, p.batch))
    for dtype in DTYPES:
        here = [p for p in points if p.dtype == dtype]
        drawn.add_box(
            x=[str(p.hidden) for p in here], y=[found[p] for p in here],
            text=[p.label for p in here], name=dtype, legendgroup=dtype, showlegend=legend,
            boxpoints="all", pointpos=0, jitter=0.4, marker={"size": 4},
            marker_color=COLOURS[dtype], line={"width": 1}, **place,
        )  # fmt: skip
    drawn.add_hline(y=1.0, line={"dash": "dot", "color": "#888"}, **place)
