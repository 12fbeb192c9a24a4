"""Speed-up over torch.nn by hidden size: one page, and PNGs where kaleido is there."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_suite.points import CELLS, DTYPES, MODES, Point
from kernel_suite.ratios import OURS, of_layers, speed_ups
from kernel_suite.store import Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = dict(zip(DTYPES, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))


def possible() -> bool:
    """Whether plotly is installed."""
    return find_spec("plotly") is not None


def write(table: Table, about: dict, beside: Path) -> list[Path]:
    """Returns the files; none if there is nothing to draw, or nothing to draw with."""
    found = {name: speed_ups(table, name, of_layers) for name in OURS} if possible() else {}
    drawn = {name: figure(ratios, name, about) for name, ratios in found.items() if ratios}
    if not drawn:
        return []
    page = beside.with_suffix(".html")
    page.write_text(_page(list(drawn.values())), encoding="utf-8")
    made = [page]
    for name, each in drawn.items() if find_spec("kaleido") else ():
        made.append(beside.with_name(f"{beside.stem}-{name}.png"))
        each.write_image(made[-1], width=1300, height=800)
    return made


def _page(drawn: list["Figure"]) -> str:
    """All figures, and plotly's own script once: it has megabytes."""
    first, *rest = drawn
    parts = [first.to_html(full_html=False, include_plotlyjs=True)]
    parts += [each.to_html(full_html=False, include_plotlyjs=False) for each in rest]
    return f'<!doctype html>\n<meta charset="utf-8">\n{"".join(parts)}\n'


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
