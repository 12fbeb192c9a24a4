"""A benchmark's rows as a table of the terminal, and as a plot on a page of its own."""

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lm_research.bench.machine import NOISY

Row = dict[str, Any]
NOT_COLUMNS = ("ratios", "seconds", "rounds", "machine", "share_of_peak")


def label(row: Row) -> str:
    """What was done, in one line."""
    return " ".join(str(v) for k, v in row.items() if k not in NOT_COLUMNS)


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
    from plotly.graph_objects import Figure, Scatter

    labels = [label(row) for row in rows]
    figure = Figure()
    for peer in dict.fromkeys(peer for row in rows for peer in row["ratios"]):
        found = [
            (name, row["ratios"][peer])
            for name, row in zip(labels, rows, strict=True)
            if peer in row["ratios"]
        ]
        middle = [ratio["median"] for _, ratio in found]
        figure.add_trace(
            Scatter(
                x=middle,
                y=[name for name, _ in found],
                mode="markers",
                name=f"beside {peer}",
                marker={"size": 9},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [ratio["high"] - ratio["median"] for _, ratio in found],
                    "arrayminus": [ratio["median"] - ratio["low"] for _, ratio in found],
                },
            )
        )
    figure.add_vline(x=1.0, line_dash="dot", line_color="gray")
    figure.update_layout(
        title=title,
        template="plotly_white",
        height=max(360, 120 + 24 * len(rows)),
        xaxis={"title": "times as fast, log scale", "type": "log"},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    figure.write_html(path, include_plotlyjs=True)
