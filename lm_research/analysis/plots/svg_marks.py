"""Elements of an SVG file: text with Plotly's few tags, markers, lines."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lm_research.analysis.palette import INK

DARK = "#3b424c"
"""Ink on white paper; a page that knows its theme replaces :data:`INK` itself."""
_TAG = re.compile(r"<(/?)(b|span|br)([^>]*)>")
_SIZE = re.compile(r"font-size:(\d+)px")
_DASHES = {
    "dot": "2 3", "dash": "7 4", "dashdot": "7 4 2 4", "longdash": "11 5",
    "longdashdot": "11 5 2 5",
}  # fmt: skip
Corners = list[tuple[float, float]]
LINE = 1.25
"""Between two lines of text, in sizes of the font."""
CHARACTER = 0.56
"""Width of a character in sizes of the font: about what sans-serif fonts come to."""


def lines_of(markup: str) -> list[str]:
    """The text's lines, still with their tags."""
    return re.split(r"<br\s*/?>", markup)


def text_width(markup: str, size: float) -> float:
    """About how wide the widest line is, in pixels."""
    plain = [_TAG.sub("", line).replace("&amp;", "&") for line in lines_of(markup)]
    return max((len(line) for line in plain), default=0) * CHARACTER * size


def text(
    x: float, y: float, markup: str, size: float = 12, anchor: str = "start",
    colour: str = DARK, halo: str | None = None,
) -> str:  # fmt: skip
    """Text about ``(x, y)``, its middle line; ``markup`` is escaped and knows b, span and br.

    Args:
        halo: the ground's colour, so that lines under the text stop short of it.
    """
    lines = lines_of(markup)
    top = y - (len(lines) - 1) * size * LINE / 2 + size * 0.35
    rows = (
        f'<tspan x="{x:.1f}" y="{top + i * size * LINE:.1f}">{_spans(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    style = f'font-size="{size:g}" text-anchor="{anchor}" fill="{colour}"'
    if halo is not None:
        style += f' stroke="{halo}" stroke-width="5" paint-order="stroke" stroke-linejoin="round"'
    return f"<text {style}>{''.join(rows)}</text>"


def _spans(line: str) -> str:
    """Tags of Plotly's as tspans."""

    def tag(found: re.Match[str]) -> str:
        if found[1]:
            return "</tspan>"
        size = _SIZE.search(found[3])
        style = ' font-weight="bold"' if found[2] == "b" else ""
        style += f' font-size="{size[1]}"' if size else ""
        return f"<tspan{style}>"

    return _TAG.sub(tag, line)


def path(
    points: list[tuple[float, float]], line: Mapping[str, Any], fill: str | None = None
) -> str:
    """A line through points, or the area that they enclose."""
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if fill:
        return f'<polygon points="{drawn}" fill="{fill}"/>'
    width, colour = line.get("width", 2), line.get("color", INK)
    dash = _DASHES.get(str(line.get("dash")))
    style = f'stroke="{colour}" stroke-width="{width:g}"'
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{drawn}" fill="none" {style}{dashed}/>'


def marker(x: float, y: float, symbol: str, size: float, colour: str, opacity: float = 1) -> str:
    """One of the palette's symbols, or a tick."""
    base, half = symbol.removesuffix("-open"), size / 2
    hollow = symbol.endswith("-open")
    fill = f'fill="{"none" if hollow else colour}" stroke="{colour}" stroke-width="2"'
    fill += f' opacity="{opacity:g}"' if opacity < 1 else ""
    if base == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{half:.1f}" {fill}/>'
    parts = (
        "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in part) for part in _shape(base, x, y, half)
    )
    closed = "Z" if base in ("square", "diamond", "triangle-up") else ""
    return f'<path d="{" ".join(parts)}{closed}" {fill}/>'


def _shape(name: str, x: float, y: float, r: float) -> Iterator[list[tuple[float, float]]]:
    corners: dict[str, Corners] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
        "triangle-up": [(0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
    }
    strokes: dict[str, list[Corners]] = {
        "line-ns": [[(0, -1), (0, 1)]],
        "cross": [[(0, -1), (0, 1)], [(-1, 0), (1, 0)]],
        "x": [[(-1, -1), (1, 1)], [(-1, 1), (1, -1)]],
    }
    for stroke in [corners[name]] if name in corners else strokes[name]:
        yield [(x + a * r, y + b * r) for a, b in stroke]
