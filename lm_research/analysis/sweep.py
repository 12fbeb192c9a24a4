"""What a sweep set out to learn: ``sweep.yaml`` beside its runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import Run
from lm_research.config.hypotheses import FORM, Hypothesis, hypothesis_problems, parse
from lm_research.config.untrusted import (
    LARGEST_CONFIG,
    LARGEST_JSON,
    UntrustedError,
    load_json,
    load_yaml,
    read_plain,
)

VERDICT = "verdict.json"
"""In the folder of an experiment's runs: what `lm-research reproduce` said of them last."""


@dataclass(frozen=True)
class Sweep:
    """A named question, the metric that answers it, and the axes that were varied.

    Args:
        name: short name.
        title: heading of the report.
        question: what the sweep asks, in a sentence.
        metric: the deciding metric.
        axes: varied configuration groups or dotted fields; empty: found from the runs.
        hypotheses: what was expected before the first run.
        searched: whether its runs are the trials of a search.
        published: rows of a paper judged by these runs (:data:`VERDICT`).
    """

    name: str
    title: str
    question: str = ""
    metric: Metric = field(default_factory=lambda: Metric.named("val/bits_per_byte"))
    axes: tuple[str, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    searched: bool = False
    published: tuple[Mapping[str, Any], ...] = ()


def runs_of_study(folder: Path | str, runs: Sequence[Run]) -> list[Run]:
    """Those of ``runs``, found below ``folder``, that are jobs of the study as it is now.

    A folder keeps the runs of a study as it was before its file was edited; they answer another
    question. Without a list of jobs, all runs.

    Raises:
        ValueError: the list is damaged.
    """
    file = Path(folder) / "jobs.json"
    if not file.is_file():
        return list(runs)
    try:
        names = {str(job["folder"]) for job in load_json(read_plain(file, LARGEST_JSON))["jobs"]}
    except (UntrustedError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: damaged ({error}); start the study again") from error
    root = Path(folder)
    return [run for run in runs if run.folder.parent != root or run.folder.name in names]


USUAL = ("bits_per_byte", "bleu", "rougeL", "accuracy")
"""What decides where nobody says what: the first that the finished runs have."""


def usual_metric(runs: Iterable[Run]) -> Metric:
    """The deciding metric of runs that no study has asked for."""
    finished = [run for run in runs if run.done]
    for name in USUAL:
        if any(f"val/{name}" in run.summary for run in finished):
            return Metric.named(f"val/{name}")
    return Metric.named(f"val/{USUAL[0]}")


def load_sweep(folder: Path | str, runs: Iterable[Run] = ()) -> Sweep:
    """Read ``folder/sweep.yaml``; without one, a sweep named after the folder.

    Args:
        folder: of the runs.
        runs: from which the deciding metric follows where there is no such file.

    Raises:
        ValueError: if the file is damaged, or a field has a wrong type.
    """
    path = Path(folder) / "sweep.yaml"
    name = Path(folder).resolve().name
    if not path.is_file():
        return Sweep(name=name, title=f"Runs in {name}", metric=usual_metric(runs))
    try:
        recorded = load_yaml(read_plain(path, LARGEST_CONFIG))
    except UntrustedError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(recorded, Mapping):
        raise ValueError(f"{path}: must hold a mapping with name, title, question, metric, axes")
    return replace(as_sweep(recorded, name, path), published=_published(Path(folder) / VERDICT))


def _published(file: Path) -> tuple[Mapping[str, Any], ...]:
    """The judged rows; none where there is no such file."""
    if not file.is_file():
        return ()
    try:
        rows = load_json(read_plain(file, LARGEST_JSON))["rows"]
        return tuple(row for row in rows if "published" in row and row.get("ours"))
    except (UntrustedError, KeyError, TypeError, AttributeError) as error:
        told = "judge again by `lm-research reproduce`"
        raise ValueError(f"{file}: damaged ({error}); {told}") from error


def as_sweep(recorded: Mapping[str, Any], folder: str, path: Path | str = "sweep") -> Sweep:
    """The ``sweep:`` node of a study's file.

    Args:
        recorded: the node.
        folder: name for a study that has none.
        path: of its file, for errors.

    Raises:
        ValueError: a field has a wrong type.
    """
    axes = recorded.get("axes") or []
    if not isinstance(axes, list) or not all(isinstance(axis, str) for axis in axes):
        raise ValueError(f"{path}, axes: {axes!r}; must be a list of names, e.g. [data, model]")
    metric = recorded.get("metric") or "val/bits_per_byte"
    direction = recorded.get("direction")
    try:
        deciding = Metric.named(str(metric), direction)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    name = str(recorded.get("name") or folder)
    return Sweep(
        name=name,
        title=str(recorded.get("title") or name),
        question=" ".join(str(recorded.get("question") or "").split()),
        metric=deciding,
        axes=tuple(dict.fromkeys(axes)),
        hypotheses=_hypotheses(recorded.get("hypotheses") or [], path),
        searched=bool(recorded.get("tune")),
    )


def _hypotheses(recorded: Any, path: Path | str) -> tuple[Hypothesis, ...]:
    if not isinstance(recorded, list):
        raise ValueError(f"{path}, hypotheses: {recorded!r}; must be a list, each {FORM}")
    problems = list(hypothesis_problems(recorded, str(path)))
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    return tuple(parse(str(text)) for text in recorded)
