"""What the two ways of measuring (runs, methods) hand to the verdicts."""

from dataclasses import dataclass, field
from pathlib import Path

from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.experiments import Experiment

DATA = "expected.yaml: data.files"


@dataclass
class Measured:
    """Values of an experiment's rows.

    Attributes:
        values: row -> seed -> value; rows that were not run are absent.
        seconds: seed -> wall time of all its rows.
        course: tokens read -> seed -> value of the course's metric.
        curves: row -> seed -> (tokens read, score of the validation split), of rows of one run.
        incomparable: why nothing of this can be compared, if so; ``partial``: a smaller budget.
        undone: runs that did not end; ``online``: whether runs go to W&B as they are.
        files: name -> SHA-256 of the data that were read.
    """

    folder: Path
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    course: dict[int, dict[int, float]] = field(default_factory=dict)
    curves: dict[str, dict[int, list[tuple[int, float]]]] = field(default_factory=dict)
    incomparable: str | None = None
    partial: bool = False
    undone: int = 0
    online: bool = False
    files: dict[str, str | None] = field(default_factory=dict)

    def took(self, seed: int, seconds: float | None) -> None:
        """Add to a seed's wall time."""
        self.seconds[seed] = self.seconds.get(seed, 0.0) + (seconds or 0.0)


def default_folder(name: str) -> str:
    """Where runs and results of methods go unless ``output`` says otherwise."""
    return f"runs/reproduce/{name}"


def check_files(experiment: Experiment, read: dict[str, str | None]) -> None:
    """The data are those of the published number.

    Args:
        read: name -> SHA-256 of the files that would be read.

    Raises:
        ConfigError: others, with each that differs.
    """
    told = experiment.expected.data.files
    names = sorted(told.keys() | read.keys())
    wrong = [name for name in names if told.get(name) != read.get(name)]
    if wrong:
        raise ConfigError(
            [
                Problem(f"{DATA}.{name}", "is not what would be read", told.get(name, "absent"),
                        str(read.get(name, "no such file")))
                for name in wrong
            ]
        )  # fmt: skip


def stand_in_reason(experiment: Experiment, read: dict[str, str | None]) -> str | None:
    """Why a number by these files is not comparable, if they are those of the stand-in."""
    other = experiment.expected.data.stand_in
    return other.why if other is not None and other.files == read else None
