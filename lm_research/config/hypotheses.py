"""What a study expects, as its sweep file states it: ``sweep.hypotheses``.

    hypothesis = side ("<" | ">") side ["on" SOURCE] ["where" choices]
    side       = choices
    choices    = AXIS=VALUE {"," AXIS=VALUE}

``model=lstm < model=rnn`` expects the metric to be lower with the first, ``>`` higher, whatever is
better. Both sides name the same axes; all others are averaged over, or fixed by ``where``. ``on``
names one of ``evaluate_on``: the metric on its held-out documents, whatever was trained on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lm_research.config.problems import Problem

FORM = (
    "AXIS=VALUE < AXIS=VALUE [on SOURCE] [where AXIS=VALUE], "
    "e.g. model=lstm < model=rnn where data=code"
)
Choices = dict[str, str]


class HypothesisError(ValueError):
    """A hypothesis that cannot be read; says why."""


@dataclass(frozen=True)
class Hypothesis:
    """An expected order of the metric.

    Args:
        text: as it was written.
        lower: axis -> value of the side whose metric is expected to be lower.
        higher: the same of the other side; its axes are those of ``lower``.
        where: choices to which both sides are restricted.
        on: the evaluation source on which the metric is meant; None: the study's own metric.
    """

    text: str
    lower: Choices
    higher: Choices
    where: Choices
    on: str | None = None


def parse(text: str) -> Hypothesis:
    """Read one hypothesis.

    Raises:
        HypothesisError: with what is wrong and how to mend it.
    """
    body, _, condition = text.partition(" where ")
    body, named, source = body.partition(" on ")
    on = source.strip()
    if named and not re.fullmatch(r"[^\s,=<>]+", on):
        raise HypothesisError(f"has {on!r} after `on`, which is no name of an evaluation source")
    sides = re.split("([<>])", body)
    if len(sides) != 3:
        raise HypothesisError("has to hold one < or > between its two sides")
    first, second = _choices(sides[0]), _choices(sides[2])
    where = _choices(condition) if condition.strip() else {}
    if first.keys() != second.keys():
        named = " and ".join(", ".join(side) for side in (first, second))
        raise HypothesisError(f"names other axes on each side ({named}); name the same on both")
    for axis in first:
        if first[axis] == second[axis]:
            raise HypothesisError(
                f"has {axis}={first[axis]} on both sides; write `where {axis}={first[axis]}`"
            )
        if axis in where:
            raise HypothesisError(f"fixes {axis}, which it compares; leave it out after `where`")
    lower, higher = (first, second) if sides[1] == "<" else (second, first)
    return Hypothesis(" ".join(text.split()), lower, higher, where, on or None)


def _choices(text: str) -> Choices:
    found: Choices = {}
    for part in text.split(","):
        axis, equals, value = (piece.strip() for piece in part.partition("="))
        if not axis or not equals or not value or "=" in value or " " in axis:
            raise HypothesisError(f"holds {part.strip()!r}, which is no AXIS=VALUE")
        if axis in found:
            raise HypothesisError(f"names {axis} twice on one side")
        found[axis] = value
    return found


def hypothesis_problems(texts: Sequence[str], file: str | None = None) -> Iterator[Problem]:
    """What is wrong with ``sweep.hypotheses``, one problem for each that cannot be read."""
    for index, text in enumerate(texts):
        try:
            parse(str(text))
        except HypothesisError as error:
            yield Problem(f"sweep.hypotheses[{index}]", str(error), str(text), FORM, None, file)
