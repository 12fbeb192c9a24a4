"""The legend of a section's plots, as HTML: colours, then symbols or dashes."""

from lm_research.analysis.palette import COLOURS, DASHES, SYMBOLS, Encoding
from lm_research.analysis.render import escape

_SHAPES = {
    "circle": '<circle cx="8" cy="7" r="4.5"/>',
    "diamond": '<path d="M8 1.5 13.5 7 8 12.5 2.5 7z"/>',
    "square": '<path d="M4 3h8v8H4z"/>',
    "triangle-up": '<path d="M8 2l5.5 9.5h-11z"/>',
    "cross": '<path d="M6 2h4v3h3v4h-3v3H6V9H3V5h3z"/>',
    "x": '<path d="M4 2l4 3 4-3 2 2-4 3 4 3-2 2-4-3-4 3-2-2 4-3-4-3z"/>',
}
_DASHES = {
    "solid": "", "dot": "2 3", "dash": "6 4", "dashdot": "6 3 2 3", "longdash": "9 4",
    "longdashdot": "9 3 2 3",
}  # fmt: skip


def legend_html(encoding: Encoding, *, lines: bool) -> str:
    """One legend for all plots of a section: colours, then symbols or dashes."""
    parts = []
    if encoding.colour_axis:
        parts.append(f'<span class="axis">{escape(encoding.colour_axis)}</span>')
        for i, name in enumerate(encoding.colours):
            swatch = f'<path d="M2 3h12v8H2z" fill="{COLOURS[i % len(COLOURS)]}"/>'
            parts.append(_legend_item(swatch, name))
    if encoding.shape_axis:
        parts.append(f'<span class="axis">{escape(encoding.shape_axis)}</span>')
        for i, name in enumerate(encoding.shapes):
            dash = _DASHES[DASHES[i % len(DASHES)]]
            line = (
                '<path d="M0 7h28" stroke="currentColor" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
            shape = f'<g fill="currentColor">{_SHAPES[SYMBOLS[i % len(SYMBOLS)]]}</g>'
            parts.append(_legend_item(line if lines else shape, name, 28 if lines else 16))
    return f'<div class="legend">{"".join(parts)}</div>' if parts else ""


def _legend_item(drawing: str, name: str, width: int = 16) -> str:
    svg = f'<svg width="{width}" height="14" aria-hidden="true">{drawing}</svg>'
    return f"<span>{svg}{escape(name)}</span>"
