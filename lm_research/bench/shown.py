"""A benchmark's rows as a table of the terminal, and as a plot on a page of its own."""

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lm_research.bench.machine import NOISY

FEW = 60
"""Rows that have room in a plot; more are drawn closer."""
TICKS = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50, 100]

Row = dict[str, Any]
NOT_COLUMNS = ("ratios", "seconds", "rounds", "rounds_of_a_side", "machine", "share_of_peak")


def label(row: Row) -> str:
    """What was done, in one line."""
    told = {k: v for k, v in row.items() if k not in NOT_COLUMNS}
    return " ".join(f"{k}={v}" if isinstance(v, int) else str(v) for k, v in told.items())


def table(title: str, rows: list[Row]) -> Table:
    """Times as fast as each peer, with the quartiles of the rounds."""
    made = Table(title=title, title_justify="left", caption_justify="left")
    columns = [name for name in rows[0] if name not in NOT_COLUMNS]
    peers = list(dict.fromkeys(peer for row in rows for peer in row["ratios"]))
    peaks = any("share_of_peak" in row for row in rows)
    for name in columns:
        made.add_column(name)
    for peer in peers:
        made.add_column(f"times as fast as {peer}", justify="right")
    if peaks:
        made.add_column("of GEMM peak", justify="right")
    for row in rows:
        cells = [str(row.get(name, "")) for name in columns]
        cells += [_ratio(row["ratios"].get(peer)) for peer in peers]
        if peaks:
            cells.append(f"{row['share_of_peak']:.0%}" if "share_of_peak" in row else "")
        made.add_row(*map(Text, cells))
    made.caption = "medians of rounds in turns, with the rounds' quartiles"
    noisy = sum(row["machine"]["spread"] > NOISY for row in rows)
    if noisy:
        made.caption += (
            f"\nthe machine was noisy at {noisy} of {len(rows)} rows: one and the same product's "
            f"quartiles were more than {NOISY - 1:.0%} apart"
        )
    return made


def _ratio(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def write_page(path: Path, title: str, rows: list[Row]) -> None:
    """A plot of the ratios, a line a row, in one HTML file."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for peer in dict.fromkeys(peer for row in rows for peer in row["ratios"]):
        _add(figure, peer, [row for row in rows if peer in row["ratios"]])
    figure.add_vline(x=1.0, line_dash="dot", line_color="gray")
    height = 24 if len(rows) < FEW else 15
    ticks = {"tickvals": TICKS, "ticktext": list(map(str, TICKS)), "side": "top"}
    names = [label(row) for row in rows]
    figure.update_layout(
        title={"text": title, "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 16}},
        template="plotly_white",
        height=max(360, 180 + height * len(rows)),
        margin={"t": 110, "b": 40},
        xaxis={"title": "times as fast, log scale; bars: quartiles of the rounds", "type": "log"}
        | ticks,
        yaxis={"categoryarray": names[::-1], "range": [-1, len(rows)], "automargin": True}
        | {"tickfont": {"size": min(12, height - 4)}, "dtick": 1},
        legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top"}
        | {"xanchor": "right", "x": 1},
    )
    figure.write_html(path, include_plotlyjs=True)


def _add(figure: Any, peer: str, rows: list[Row]) -> None:
    """One peer's points; where there is one alone, those of each kind have their own colour."""
    kinds = {str(next(iter(row.values()))): [] for row in rows} if _alone(rows) else {"": rows}
    for row in rows if _alone(rows) else ():
        kinds[str(next(iter(row.values())))].append(row)
    for kind, found in kinds.items():
        ratios = [row["ratios"][peer] for row in found]
        figure.add_scatter(
            x=[ratio["median"] for ratio in ratios],
            y=[label(row) for row in found],
            mode="markers",
            name=f"{kind} beside {peer}".strip(),
            marker={"size": 8},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [ratio["high"] - ratio["median"] for ratio in ratios],
                "arrayminus": [ratio["median"] - ratio["low"] for ratio in ratios],
            },
        )


def _alone(rows: list[Row]) -> bool:
    return all(len(row["ratios"]) == 1 for row in rows)
