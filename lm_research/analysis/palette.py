"""Colours, symbols and dashes: one per option, the same in every plot.

The hues are those of Okabe and Ito (2008), told apart with every common kind of colour blindness,
without black and yellow, which vanish on dark or on white, and with a blue light enough for dark.
A symbol or a dash carries the second axis, so that no plot depends on colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lm_research.analysis.settings import Setting

COLOURS = ("#1180C3", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9A7D5A", "#7F8790")
DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
INK = "#7b828d"
"""Readable on white and on black; the report replaces it by the theme's own ink."""
PAPER = "rgba(127,127,127,0)"
"""Behind text that lies on lines; the report replaces it by the page's own colour."""
GRID = "rgba(127,127,127,0.22)"
BEST_RGB = "8,120,186"


@dataclass(frozen=True)
class Encoding:
    """Which axis is shown by colour and which by shape."""

    colour_axis: str | None
    colours: tuple[str, ...]
    shape_axis: str | None
    shapes: tuple[str, ...]

    def colour(self, setting: Setting) -> str:
        """The setting's colour."""
        if self.colour_axis is None:
            return COLOURS[0]
        return COLOURS[self.colours.index(setting[self.colour_axis]) % len(COLOURS)]

    def dash(self, setting: Setting) -> str:
        """The setting's line."""
        return DASHES[self._shape(setting) % len(DASHES)]

    def symbol(self, setting: Setting) -> str:
        """The setting's marker."""
        return SYMBOLS[self._shape(setting) % len(SYMBOLS)]

    def _shape(self, setting: Setting) -> int:
        return 0 if self.shape_axis is None else self.shapes.index(setting[self.shape_axis])


def encode(settings: Sequence[Setting]) -> Encoding:
    """Colour for the axis with most options, shape for the next; sources get plots of their own."""
    options: dict[str, tuple[str, ...]] = {}
    for axis in settings[0].axes if settings else ():
        found = tuple(dict.fromkeys(setting[axis] for setting in settings))
        if axis != "data" and len(found) > 1:
            options[axis] = found
    ranked = sorted(options, key=lambda axis: len(options[axis]), reverse=True)
    first, second, *_ = (*ranked, None, None)
    return Encoding(
        first, options[first] if first else (), second, options[second] if second else ()
    )
