"""Whether a study has the runs that its hypotheses speak of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_research.config.choices import PRETRAINING, choices_of, value_on
from lm_research.config.hypotheses import parse
from lm_research.config.problems import Problem, closest


def without_runs(
    texts: Sequence[str], configs: Sequence[Mapping[str, Any]], file: str | None
) -> Iterator[Problem]:
    """A problem for each hypothesis with a side that no configuration of the study is of.

    Args:
        texts: ``sweep.hypotheses``, sound ones.
        configs: of every setting, finished.
        file: that holds them.
    """
    known = [(config, choices_of(config)) for config in configs]
    for index, text in enumerate(texts):
        hypothesis = parse(text)
        for side in (hypothesis.lower, hypothesis.higher):
            wanted = {**side, **hypothesis.where}
            if PRETRAINING in wanted or any(_is(wanted, *one) for one in known):
                continue
            told = ", ".join(f"{axis}={value}" for axis, value in wanted.items())
            allowed, near = _values(wanted, known)
            message = "speaks of runs that the study does not have"
            yield Problem(f"sweep.hypotheses[{index}]", message, told, allowed, near, file)


def _is(wanted: Mapping[str, str], config: Mapping[str, Any], choices: Mapping[str, str]) -> bool:
    return all(value_on(config, choices, axis) == value for axis, value in wanted.items())


def _values(
    wanted: Mapping[str, str], known: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]
) -> tuple[str, str | None]:
    """The values of the first axis that never has the wanted one, and the nearest of them."""
    for axis, value in wanted.items():
        found = sorted({str(value_on(*one, axis)) for one in known})
        if value not in found:
            near = closest(value, found)
            return f"{axis} of {', '.join(found)}", near and f"{axis}={near}"
    return "choices that occur together in one setting", None
