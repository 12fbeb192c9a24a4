"""What may be asked of a served run, and how much of it at once.

The classes are schemas: their annotations say what a field may be, as the verbs' options do.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from lm_research.config.checks import describe, fits, hints
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.types import Interval

T = TypeVar("T")

MOST_BYTES = 200_000
"""Of a request."""
MOST_CHARACTERS = 20_000
"""Of a text."""
MOST_TOKENS = 4096
"""Of a text that is read."""
MOST_SECONDS = 60.0
"""That a text may take to be continued; what there is by then is the answer."""

Seed = Annotated[int, Interval(0, 2**63 - 1)]
Temperature = Annotated[float, Interval(0, 100)]
Share = Annotated[float, Interval(0, 1, open_low=True)]
TopK = Annotated[int, Interval(1, 1_000_000)]
Few = Annotated[int, Interval(1, 16)]
Penalty = Annotated[float, Interval(0, 10)]


@dataclasses.dataclass(frozen=True)
class Text:
    """A text to be read."""

    text: str


@dataclasses.dataclass(frozen=True)
class Continuation:
    """A text to be continued; see :class:`lm_research.tasks.generation.Sampling`."""

    text: str
    length: Annotated[int, Interval(1, 2000)] = 100
    temperature: Temperature = 0.8
    top_k: TopK | None = None
    top_p: Share | None = None
    seed: Seed = 0


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A text whose words get tags; ``spaces``: it is cut into words already."""

    text: str
    words: Literal["auto", "spaces"] = "auto"


@dataclasses.dataclass(frozen=True)
class Writing:
    """A source; null: as the run searches. A temperature draws texts instead of searching."""

    text: str
    beam: Few | None = None
    length_penalty: Penalty | None = None
    coverage_penalty: Penalty | None = None
    n_best: Few = 1
    temperature: Annotated[float, Interval(0, 100, open_low=True)] | None = None
    top_k: TopK | None = None
    top_p: Share | None = None
    seed: Seed = 0


def filled(schema: type[T], values: Any) -> T:
    """``values`` (of a JSON object) as a ``schema``.

    Raises:
        ConfigError: a field is unknown, missing, or does not fit; all of them at once.
    """
    if not isinstance(values, Mapping):
        raise ConfigError([Problem("request", "is no JSON object", None, '{"text": "..."}')])
    known = hints(schema)
    problems = [
        Problem(
            str(name)[:80], "there is no such field", None, listing(known), closest(name, known)
        )
        for name in values
        if name not in known
    ]
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        if field.name not in values:
            if field.default is dataclasses.MISSING:
                allowed = describe(known[field.name])
                problems.append(Problem(field.name, "must be given", None, allowed))
        elif not fits(values[field.name], known[field.name]):
            told, allowed = repr(values[field.name])[:80], describe(known[field.name])
            problems.append(Problem(field.name, "does not fit", told, allowed))
    text = values.get("text")
    if isinstance(text, str) and len(text) > MOST_CHARACTERS:
        told, allowed = f"has {len(text):,} characters", f"at most {MOST_CHARACTERS:,}"
        problems.append(Problem("text", told, None, allowed))
    if problems:
        raise ConfigError(problems)
    return schema(**values)


def check_tokens(count: int, most: int = MOST_TOKENS) -> None:
    """Refuse a text of more tokens than are read at once."""
    if count > most:
        told, allowed = f"has {count:,} tokens", f"at most {most:,}"
        raise ConfigError([Problem("text", told, None, allowed)])
