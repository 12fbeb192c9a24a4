"""A figure as a still picture: an SVG file, for pages that run no script, such as Markdown.

It draws what the report's figures hold: points with intervals, lines, areas, heat maps, text. The
ground is white, since the picture cannot know its page's theme.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_research.analysis.palette import COLOURS, GRID
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.svg_axis import Axis, axis_of
from lm_research.analysis.plots.svg_marks import DARK, marker, path, text, text_width

GROUND = "#ffffff"
WIDTH = 760
EDGE, GAP, ROW = 16, 8, 20
"""Pixels: about the picture, between an axis and its numbers, a line of text."""
Point = tuple[float, float]


def to_svg(figure: Figure, width: int = WIDTH) -> str:
    """The figure as text of an SVG file, ``width`` pixels wide and as high as its layout says."""
    return _Picture(figure, width).text()


class _Picture:
    """Axes, the plot's rectangle, and everything in it."""

    def __init__(self, figure: Figure, width: int) -> None:
        self.data, self.layout = figure.data, figure.layout
        self.width, self.height = width, int(self.layout["height"])
        self.x = self._axis("x")
        self.y = self._axis("y")
        self.named = [t for t in self.data if t.get("name") and t.get("showlegend") is not False]
        legend = ROW if self.layout.get("showlegend") and self.named else 0
        labels = max((text_width(t, 12) for _, t in self.y.ticks), default=0)
        self.left = EDGE + labels + GAP + (ROW if self._title("y") else 0)
        self.right = width - EDGE
        above, below = (2 * ROW, 0) if self._on_top() else (0, ROW)
        self.top = EDGE + ROW + legend + above
        self.bottom = self.height - EDGE - below - (ROW if self._title("x") and below else 0)

    def _axis(self, letter: str) -> Axis:
        traces = self.data
        values = [v for t in traces for v in _list(t.get(letter))]
        values += [s[f"{letter}0"] for s in self.layout.get("shapes", ()) if letter == "x"]
        spans = [end for t in traces for end in _ends(t, letter)]
        return axis_of(self.layout[f"{letter}axis"], values, spans)

    def _title(self, letter: str) -> str:
        return str(self.layout[f"{letter}axis"].get("title", {}).get("text") or "")

    def _on_top(self) -> bool:
        return bool(self.layout["xaxis"].get("side") == "top")

    def at(self, x: Any, y: Any) -> Point:
        """Pixels of a point."""
        return (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )

    def text(self) -> str:
        style = 'font-family="system-ui, sans-serif"'
        size = f'width="{self.width}" height="{self.height}"'
        box = f'viewBox="0 0 {self.width} {self.height}"'
        paper = f'<rect {size} fill="{GROUND}"/>'
        parts = [
            paper,
            *self._frame(),
            *self._shapes(),
            *self._traces(),
            *self._notes(),
            *self._legend(),
        ]
        body = "\n".join(parts)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {style}>\n{body}\n</svg>\n'

    def _frame(self) -> Iterator[str]:
        title = str(self.layout["title"]["text"])
        yield text(EDGE, EDGE, f"<b>{title}</b>", 14)
        middle_x, middle_y = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        x_title = EDGE + ROW + 4 if self._on_top() else self.height - EDGE
        yield text(middle_x, x_title, self._title("x"), 12, "middle")
        if name := self._title("y"):
            turned = text(0, 0, name, 12, "middle")
            yield f'<g transform="translate({EDGE},{middle_y:.1f}) rotate(-90)">{turned}</g>'
        yield from self._ticks()

    def _ticks(self) -> Iterator[str]:
        below = self.top - GAP - 4 if self._on_top() else self.bottom + GAP + 6
        grid = [self.layout[f"{a}axis"].get("showgrid") is not False for a in "xy"]
        for value, name in self.x.ticks:
            x = self.left + self.x.share(value) * (self.right - self.left)
            if grid[0]:
                yield path([(x, self.top), (x, self.bottom)], {"color": GRID, "width": 1})
            yield text(x, below, name, 12, "middle")
        for value, name in self.y.ticks:
            y = self.bottom - self.y.share(value) * (self.bottom - self.top)
            if grid[1]:
                yield path([(self.left, y), (self.right, y)], {"color": GRID, "width": 1})
            yield text(self.left - GAP, y, name, 12, "end")

    def _shapes(self) -> Iterator[str]:
        for shape in self.layout.get("shapes", ()):
            x = self.left + self.x.share(shape["x0"]) * (self.right - self.left)
            yield path([(x, self.top), (x, self.bottom)], shape["line"])

    def _traces(self) -> Iterator[str]:
        for trace in self.data:
            yield from self._heat(trace) if trace["type"] == "heatmap" else self._points(trace)

    def _heat(self, trace: Mapping[str, Any]) -> Iterator[str]:
        (_, least), (_, most) = trace["colorscale"]
        gap = trace.get("xgap", 0)
        for y, row in zip(trace["y"], trace["z"], strict=True):
            for x, value in zip(trace["x"], row, strict=True):
                if value is not None:
                    yield self._cell(x, y, _between(least, most, value), gap)

    def _cell(self, x: str, y: str, colour: str, gap: float) -> str:
        wide = (self.right - self.left) / len(self.x.names) - gap
        high = (self.bottom - self.top) / len(self.y.names) - gap
        a, b = self.at(x, y)
        place = f'x="{a - wide / 2:.1f}" y="{b - high / 2:.1f}"'
        return f'<rect {place} width="{wide:.1f}" height="{high:.1f}" fill="{colour}"/>'

    def _points(self, trace: Mapping[str, Any]) -> Iterator[str]:
        found = [self.at(x, y) for x, y in zip(trace["x"], trace["y"], strict=True)]
        mode, mark = str(trace.get("mode", "lines")), trace.get("marker") or {}
        yield from self._bars(trace)
        if trace.get("fill"):
            yield path(found, {}, fill=trace["fillcolor"])
        elif "lines" in mode:
            yield path(found, trace.get("line") or {})
        if "markers" in mode:
            colour = mark.get("color") or (trace.get("line") or {}).get("color") or COLOURS[0]
            symbols = mark.get("symbol", "circle")
            each = symbols if isinstance(symbols, list) else [symbols] * len(found)
            for (x, y), symbol in zip(found, each, strict=True):
                yield marker(x, y, symbol, mark.get("size", 6), colour, mark.get("opacity", 1))

    def _bars(self, trace: Mapping[str, Any]) -> Iterator[str]:
        """Intervals, cut at the edges of the plot."""
        for letter in "xy":
            error: Any = trace.get(f"error_{letter}")
            for i, (x, y) in enumerate(zip(trace["x"], trace["y"], strict=True) if error else ()):
                more, less = error["array"][i], error["arrayminus"][i]
                ends = (
                    [(x - less, y), (x + more, y)]
                    if letter == "x"
                    else [(x, y - less), (x, y + more)]
                )
                line = {"color": error["color"], "width": error["thickness"]}
                yield path([self._inside(self.at(*end)) for end in ends], line)

    def _inside(self, point: Point) -> Point:
        x = min(max(point[0], self.left), self.right)
        return x, min(max(point[1], self.top), self.bottom)

    def _notes(self) -> Iterator[str]:
        for note in self.layout.get("annotations", ()):
            of_paper = note.get("xref") == "paper"
            x, y = self.at(self.x.low if of_paper and not self.x.names else note["x"], note["y"])
            font = note.get("font") or {}
            size, colour = font.get("size", 12), font.get("color", DARK)
            if of_paper:
                lines = str(note["text"]).count("<br>") + 1
                top = y - lines * size * 0.62
                yield text(self.left, top, str(note["text"]), size, halo=GROUND)
            else:
                yield text(x, y, str(note["text"]), size, "middle", colour)

    def _legend(self) -> Iterator[str]:
        x = self.left
        for trace in self.named if self.layout.get("showlegend") else ():
            colour = (trace.get("line") or {}).get("color", COLOURS[0])
            symbol = (trace.get("marker") or {}).get("symbol", "circle")
            yield path([(x, EDGE + ROW), (x + 22, EDGE + ROW)], trace.get("line") or {})
            yield marker(x + 11, EDGE + ROW, symbol, 8, colour)
            yield text(x + 28, EDGE + ROW, str(trace["name"]))
            x += 46 + text_width(str(trace["name"]), 12)


def _list(values: Any) -> Sequence[Any]:
    return [] if values is None else list(values)


def _ends(trace: Mapping[str, Any], letter: str) -> Iterator[float]:
    error: Any = trace.get(f"error_{letter}")
    for i, value in enumerate(trace[letter] if error else ()):
        yield value - error["arrayminus"][i]
        yield value + error["array"][i]


def _between(least: str, most: str, share: float) -> str:
    """Of two colours that differ in their opacity alone ("rgba(8,120,186,0.06)")."""
    rgb, low = least.removeprefix("rgba(").removesuffix(")").rsplit(",", 1)
    high = most.removesuffix(")").rsplit(",", 1)[1]
    alpha = float(low) + share * (float(high) - float(low))
    return f"rgba({rgb},{alpha:.3f})"
