"""The typed shape of experiments/NAME/study.yaml: several sweeps that answer one question."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lm_research.config.expected import read_as
from lm_research.config.paths import studies, study_files
from lm_research.config.problems import ConfigError, Problem, closest, listing


@dataclass
class StudyPart:
    """One sweep, and what the page shows of it besides what every part has."""

    sweep: str
    """the name of its file, in the folder's own sweeps/ or in sweeps/"""
    ratios: dict[str, str] = field(default_factory=dict)
    """an axis and one of its options: a table of the others' metric over that option's"""
    against: str | None = None
    """a cost of runs (model/parameters) along which the figure draws each model's sizes"""


@dataclass
class StudyFile:
    """The root."""

    title: str
    question: str
    parts: list[StudyPart]
    """in the order in which they run"""
    smoke: list[str] = field(default_factory=list)
    """overrides under which all parts are over in minutes, and mean nothing"""


def find_study(name: str) -> StudyFile:
    """The study experiments/NAME, its file checked.

    Raises:
        ConfigError: there is none of this name, or its file is wrong.
    """
    files = study_files()
    if name not in files:
        near = closest(name, files)
        raise ConfigError([Problem("study", "there is none", name, listing(files), near)])
    return read_as(StudyFile, files[name], _rules)


def _rules(node: Mapping[str, Any], file: str) -> Iterator[Problem]:
    """Each part is a sweep that there is, and named once."""
    known = dict(studies("sweeps"))
    parts = [part for part in node.get("parts") or [] if isinstance(part, Mapping)]
    names = [part.get("sweep") for part in parts]
    if not parts:
        yield Problem("parts", "has no sweep", "[]", "at least one", file=file)
    for number, part in enumerate(parts):
        name, ratios = part.get("sweep"), part.get("ratios")
        if isinstance(name, str) and name not in known:
            near = closest(name, known)
            field = f"parts.{number}.sweep"
            yield Problem(field, "there is no such sweep", name, listing(known), near, file)
        if names.count(name) > 1:
            yield Problem(f"parts.{number}.sweep", "is there twice", name, "each once", file=file)
        if isinstance(ratios, Mapping) and len(ratios) > 1:
            field, told = f"parts.{number}.ratios", ", ".join(map(str, ratios))
            yield Problem(field, "are of one axis", told, "{AXIS: OPTION}", file=file)
