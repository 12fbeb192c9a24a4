"""Which values fit which annotations."""

from typing import Any, Literal

import pytest

from lm_research.config.checks import describe, fits
from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt, Probability

CASES = [
    (3, PositiveInt, True),
    (0, PositiveInt, False),
    (True, PositiveInt, False),
    (3.0, PositiveInt, False),
    ("3", PositiveInt, False),
    (3, float, True),
    (float("nan"), float, False),
    (float("inf"), PositiveFloat, True),
    (0.0, PositiveFloat, False),
    (1.0, Probability, True),
    (1.0, DropProbability, False),
    (None, int | None, True),
    ("a", Literal["a", "b"], True),
    ("c", Literal["a", "b"], False),
    (True, Literal[1], False),
    ([1, 2], list[int], True),
    ([1, "x"], list[int], False),
    ("ab", list[str], False),
    ({"a": 1}, dict[str, float], True),
    ({"a": "x"}, dict[str, float], False),
    (object(), Any, True),
    (1, bool, False),
    (None, str, False),
]


@pytest.mark.parametrize(("value", "annotation", "expected"), CASES)
def test_fits(value, annotation, expected):
    assert fits(value, annotation) is expected


def test_description_says_range_and_alternatives():
    assert describe(PositiveInt) == "an integer at least 1"
    assert describe(DropProbability) == "a number within [0, 1)"
    assert describe(int | None) == "an integer or null"
    assert describe(Literal["a", "b"]) == "one of a, b"
    assert describe(dict[str, float]) == "a mapping from text to number"
