"""A Plotly figure as the page needs it: traces and layout as plain dictionaries.

Plotly's own classes look at each value as it is set, which for the figures of a large report takes
seconds. The tests build Plotly's figure of every plot instead, which refuses what it does not know.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

TEMPLATE = {"data": {"scatter": [{"type": "scatter"}]}}
"""Plotly's template "none": no style but the figure's own."""


class Figure:
    """A figure to which traces and layout are added; names and values are those of plotly.js.

    Attributes:
        data: the traces.
        layout: title, axes, annotations.
    """

    def __init__(self, **layout: Any) -> None:
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {"template": TEMPLATE}
        self.update_layout(**layout)

    def add_scatter(self, **trace: Any) -> None:
        """Points or a line."""
        self.data.append({**trace, "type": "scatter"})

    def add_bar(self, **trace: Any) -> None:
        """Bars."""
        self.data.append({**trace, "type": "bar"})

    def add_heatmap(self, **trace: Any) -> None:
        """A matrix of colours."""
        self.data.append({**trace, "type": "heatmap"})

    def add_annotation(self, **annotation: Any) -> None:
        """Text at a point."""
        self.layout.setdefault("annotations", []).append(annotation)

    def add_vline(self, x: float, line: Mapping[str, Any]) -> None:
        """A line at ``x`` from the bottom of the plot to its top."""
        shape = {"type": "line", "x0": x, "x1": x, "xref": "x", "y0": 0, "y1": 1}
        shapes = self.layout.setdefault("shapes", [])
        shapes.append({**shape, "yref": "y domain", "line": dict(line)})

    def update_layout(self, **changes: Any) -> None:
        """Set parts of the layout; what nested dictionaries do not name stays."""
        _merge(self.layout, changes)

    def update_xaxes(self, **changes: Any) -> None:
        """Set parts of the x axis."""
        self.update_layout(xaxis=changes)

    def update_yaxes(self, **changes: Any) -> None:
        """Set parts of the y axis."""
        self.update_layout(yaxis=changes)

    def to_json(self) -> str:
        """The figure for plotly.js; numbers that are not finite are not drawn."""
        whole = {"data": self.data, "layout": self.layout}
        try:
            return json.dumps(whole, separators=(",", ":"), allow_nan=False)
        except ValueError:
            return json.dumps(_finite(whole), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _merge(whole: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            part = whole[key] = dict(whole.get(key) or {})
            _merge(part, value)
        else:
            whole[key] = value
