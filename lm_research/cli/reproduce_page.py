"""``lm-research reproduce --page``: every experiment's results on one page."""

from collections.abc import Sequence
from pathlib import Path

from lm_research.analysis.reproductions import Reproduction, ReproductionsPage
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.experiments import Experiment, claims_equality, find, results

OUTPUT = "reports/reproductions"


def write(arguments: Sequence[str]) -> Path:
    """Write the page; returns its path.

    Raises:
        ConfigError: another argument than ``output=``, or an expected.yaml that is wrong.
        FileExistsError: a file is in the way that is none of ours.
    """
    given = dict(text.partition("=")[::2] for text in arguments)
    if others := [name for name in given if name != "output"]:
        raise ConfigError([Problem(others[0], "is nothing that --page takes", None, "output=")])
    judged = [name for name, folder in experiments().items() if not claims_equality(folder)]
    page = ReproductionsPage([reproduction(find(name)) for name in judged])
    return page.write(Path(given.get("output") or OUTPUT))


def reproduction(experiment: Experiment) -> Reproduction:
    """An experiment, and what was found of it so far."""
    expected, name = experiment.expected, experiment.name
    recipes = {row.name: experiment.recipe(row) for row in expected.rows}
    return Reproduction(name, expected, results(name), recipes)
