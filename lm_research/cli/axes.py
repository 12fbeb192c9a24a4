"""Overrides that name several values: the axes of a sweep."""

from collections.abc import Sequence
from itertools import zip_longest
from math import prod

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lm_research.config.compose import loader


def columns(overrides: Sequence[str], config_dir: str | None = None) -> list[list[str]]:
    """Each override as the list of overrides that it stands for, one a value.

    What cannot be read, or not be counted (``interval``), stays one: composing will say why.
    """
    with loader(config_dir) as found:
        parser = OverridesParser.create(config_loader=found)
        return [_values(parser, text) for text in overrides]


def values(override: str, config_dir: str | None = None) -> list[str]:
    """The values that ``key=a,b`` names, as the text of overrides."""
    return [text.partition("=")[2] for text in columns([override], config_dir)[0]]


def _values(parser: OverridesParser, text: str) -> list[str]:
    try:
        override = parser.parse_overrides([text])[0]
        if not override.is_sweep_override():
            return [text]
        key = override.get_key_element()
        return [f"{key}={value}" for value in override.sweep_string_iterator()] or [text]
    except HydraException:
        return [text]


def covering(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    """Few combinations in which each value occurs; the product may be huge."""
    rows = zip_longest(*columns)
    filled = ([v or column[0] for v, column in zip(row, columns, strict=True)] for row in rows)
    return list(filled) or [[]]


def combinations(columns: Sequence[Sequence[str]]) -> int:
    """How many runs the product makes."""
    return prod(map(len, columns))


def split_axes(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Part ``key=a,b`` (an axis, as key -> values) from plain overrides."""
    fixed, axes = [], {}
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            fixed.append(text)  # the check says what is wrong with it
            continue
        if override.is_sweep_override():
            axes[override.get_key_element()] = text.partition("=")[2]
        else:
            fixed.append(text)
    return fixed, axes
