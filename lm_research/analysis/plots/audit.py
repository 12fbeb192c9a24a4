"""Figures of an audit: vocabulary, divergence between sources, parts of speech."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lm_research.analysis.palette import BEST_RGB, COLOURS, DASHES, SYMBOLS
from lm_research.analysis.plots.figure import figure, label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOT_PX = 340
CELL_PX = 58


def vocabulary_plots(sources: Mapping[str, Any]) -> list["Figure"]:
    """Growth of the vocabulary, and frequency by rank; both axes logarithmic."""
    growth = _logarithmic("Vocabulary growth", "words read", "different words")
    ranks = _logarithmic("Frequency by rank", "rank of the word", "occurrences")
    for place, (name, source) in enumerate(sources.items()):
        vocabulary = source["vocabulary"]
        _add(growth, name, vocabulary["heaps"]["points"], place)
        _add(ranks, name, vocabulary["zipf"]["points"], place)
    return [growth, ranks]


def _logarithmic(title: str, x: str, y: str) -> "Figure":
    drawn = figure(title, PLOT_PX, x, y)
    for update in (drawn.update_xaxes, drawn.update_yaxes):
        update(type="log", dtick=1, tickformat="~s")
    return drawn


def _add(drawn: "Figure", name: str, points: Sequence[Sequence[int]], place: int) -> None:
    colour = COLOURS[place % len(COLOURS)]
    drawn.add_scatter(
        x=[x for x, _ in points], y=[y for _, y in points], mode="lines+markers", name=label(name),
        line={"color": colour, "width": 2, "dash": DASHES[place // len(COLOURS) % len(DASHES)]},
        marker={"size": 5, "color": colour, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        hovertemplate=f"{label(name)}<br>%{{x:,}}: %{{y:,}}<extra></extra>",
    )  # fmt: skip


def divergence_plot(rows: Sequence[Mapping[str, Any]], over: str) -> "Figure":
    """Heat map of bits; the diagonal holds the halves of each source."""
    names = list(dict.fromkeys(row["first"] for row in rows))
    cells = {}
    for row in rows:
        cells[row["first"], row["second"]] = cells[row["second"], row["first"]] = row
    drawn = figure(f"Divergence over {over}, in bits", 110 + CELL_PX * len(names))
    bits = [[_bits(cells.get((a, b))) for b in names] for a in names]
    drawn.add_heatmap(
        z=bits, x=[label(n) for n in names], y=[label(n) for n in names], zmin=0, zmax=1,
        colorscale=[[0, f"rgba({BEST_RGB},0.06)"], [1, f"rgba({BEST_RGB},0.92)"]],
        showscale=False, xgap=3, ygap=3, hoverongaps=False,
        customdata=[[_hover(cells.get((a, b))) for b in names] for a in names],
        hovertemplate="%{y}, %{x}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    for (a, b), row in cells.items():
        value = _bits(row)
        font = {"size": 13, **({"color": "#ffffff"} if value is not None and value > 0.75 else {})}
        text = "–" if value is None else f"{value:.3f}"
        drawn.add_annotation(
            x=label(b), y=label(a), text=f"<i>{text}</i>" if a == b else text, showarrow=False,
            font=font,
        )  # fmt: skip
    drawn.update_xaxes(side="top", showgrid=False, type="category")
    drawn.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return drawn


def _bits(row: Mapping[str, Any] | None) -> float | None:
    return None if row is None or row["bits"] is None else float(row["bits"])


def _hover(row: Mapping[str, Any] | None) -> str:
    if row is None or row["bits"] is None:
        return "–"
    if row["first"] == row["second"]:
        return f"{row['bits']:.4f} between its halves"
    span = "" if row["low"] is None else f", {row['low']:.4f} to {row['high']:.4f}"
    return f"{row['bits']:.4f}{span}"


def tags_plot(sources: Mapping[str, Any]) -> "Figure | None":
    """Share of each part of speech, sources side by side; None if none has a tagger."""
    tagged = {name: source["tags"] for name, source in sources.items() if source["tags"]}
    if not tagged:
        return None
    order = dict.fromkeys(tag for tags in tagged.values() for tag in tags["shares"])
    drawn = figure("Parts of speech, share of the words", PLOT_PX)
    for place, (name, tags) in enumerate(tagged.items()):
        drawn.add_bar(
            x=list(order), y=[tags["shares"].get(tag, 0) for tag in order], name=label(name),
            marker={"color": COLOURS[list(sources).index(name) % len(COLOURS)]},
            hovertemplate=f"{label(name)}<br>%{{x}}: %{{y:.1%}}<extra></extra>",
            offsetgroup=str(place),
        )  # fmt: skip
    drawn.update_layout(barmode="group")
    drawn.update_yaxes(tickformat=".0%")
    return drawn
