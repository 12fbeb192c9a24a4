"""``lm-research reproduce --list``: every experiment, its state, its cost, the verdict."""

import re
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lm_research.analysis.verdicts import in_short
from lm_research.cli.reproduce_page import reproduction
from lm_research.cli.tell import safe
from lm_research.config.expected import FILE, Expected, read_expected
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError
from lm_research.studies.experiments import Experiment, claims_equality

YEAR = re.compile(r"\b(?:19|20)\d\d\b")
NOTE = "Times are of one seed of all rows, on two cores or one GPU; ~ marks an estimate."


def show(console: Console) -> None:
    """Print the table, and how to go without the data that are not here."""
    from lm_research.config.compose import compose

    downloads = str(compose([]).config["downloads"])
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("experiment", no_wrap=True)  # to be typed as it is
    table.add_column("paper")
    table.add_column("data")
    table.add_column("CPU", justify="right")
    table.add_column("GPU", justify="right")
    table.add_column("verdict")
    notes = []
    for name, folder in experiments().items():
        cells, note = _cells(name, folder, downloads)
        table.add_row(*(Text(safe(cell)) for cell in (name, *cells)))
        notes += [f"{name}: {note}"] * bool(note)
    console.print(table)
    for line in (NOTE, *notes):
        console.print(Text(safe(line)))


def _cells(name: str, folder: Path, downloads: str) -> tuple[list[str], str]:
    """What follows the name, and a note."""
    if claims_equality(folder):
        return ["", "", "", "", "by a test"], f"tests/experiments/test_{name}.py compares"
    try:
        expected = read_expected(folder / FILE)
    except ConfigError as error:
        return ["", "", "", "", "unknown"], f"{FILE} is wrong: {error.problems[0].field}"
    missing = _missing(expected, downloads)
    gpu = {"none": "-", "unknown": "?"}.get(expected.cost.gpu, expected.cost.gpu)
    data = "no" if missing else "here"
    verdict = _verdict(Experiment(name, folder, expected))
    return [_short(expected), data, expected.cost.cpu, gpu, verdict], missing


def _short(expected: Expected) -> str:
    """``Karpathy 2022``: the first author, and the first year that the reference names."""
    first = re.split(r",| and | et al", expected.paper)[0]
    return " ".join((first.split()[-1], *YEAR.findall(expected.paper)[:1]))


def _missing(expected: Expected, downloads: str) -> str:
    """Which files are not here; whether they are whole is seen when they are read."""
    from lm_research.data.downloads import Downloads, RemoteFile

    folder = Downloads(downloads)
    files = [f for f in expected.data.files if folder.find(RemoteFile(f, [], None)) is None]
    other = expected.data.stand_in
    instead = f", or data={other.option} for numbers that compare with nothing" if other else ""
    return f"{', '.join(files)} to fetch{instead}" if files else ""


def _verdict(experiment: Experiment) -> str:
    """As on the page of all."""
    told = [attempt.told for attempt in reproduction(experiment).attempts()]
    return in_short(told) if told else "not run yet"
