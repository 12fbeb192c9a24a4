"""``lm-research reproduce --list``: every experiment, its state, its cost, the last verdict."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lm_research.cli.tell import safe
from lm_research.config.expected import FILE, Expected, read_expected
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError
from lm_research.studies.experiments import claims_equality, results

LONGEST = 44


def show(console: Console) -> None:
    """Print the table."""
    from lm_research.config.compose import compose

    downloads = str(compose([]).config["downloads"])
    table = Table()
    for name in ("experiment", "paper", "data", "cost (CPU; GPU)", "last verdict"):
        table.add_column(name)
    for name, folder in experiments().items():
        table.add_row(*(Text(safe(cell)) for cell in _cells(name, folder, downloads)))
    console.print(table)


def _cells(name: str, folder: Path, downloads: str) -> list[str]:
    if claims_equality(folder):
        return [name, "equality with other code", "", "", f"by tests/experiments/test_{name}.py"]
    try:
        expected = read_expected(folder / FILE)
    except ConfigError as error:
        return [name, "", "", "", f"{FILE} is wrong: {error.problems[0].field}"]
    paper = expected.paper
    short = paper if len(paper) <= LONGEST else f"{paper[: LONGEST - 1]}…"
    cost = f"{expected.cost.cpu}; {expected.cost.gpu}"
    return [name, short, _data(expected, downloads), cost, _last(name)]


def _data(expected: Expected, downloads: str) -> str:
    """Whether the files are here; whether they are whole is seen when they are read."""
    from lm_research.data.downloads import Downloads, RemoteFile

    folder = Downloads(downloads)
    missing = [f for f in expected.data.files if folder.find(RemoteFile(f, [], None)) is None]
    other = expected.data.stand_in
    instead = f", or data={other.option}" if other else ""
    return f"{len(missing)} files to fetch{instead}" if missing else "here"


def _last(name: str) -> str:
    found: list[dict[str, Any]] = results(name)
    if not found:
        return "not run yet"
    last = found[-1]
    day = str((last.get("environment") or {}).get("time", ""))[:10]
    return f"{last.get('verdict', 'unknown')} ({day})"
