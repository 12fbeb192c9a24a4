"""``lm-research report runs=FOLDER`` or ``sweep=NAME``: tables and a page from recorded runs."""

from dataclasses import dataclass
from pathlib import Path

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem

SUMMARY = (
    "Read the run folders at or below a folder: tables in the terminal, one HTML page on disk,\n"
    "and beside it the same in Markdown (.md) and the tables in LaTeX (.tex)."
)


class ReportError(Exception):
    """Runs that cannot be reported; says why."""


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    runs: str | None = option(None, "folder of a sweep, of several runs, or of one")
    sweep: str | None = option(None, "or the name of a study in sweeps/: its own folder and file")
    output: str | None = option(None, "the HTML file; null: report.html in the folder of `runs`")


def run(arguments: list[str]) -> int:
    """Write the report."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("report", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    places = _places(options)
    from lm_research.tracking.ledger.ledger import no_collection

    with no_collection():  # the process ends with the report
        print(f"report: {report(*places)}")
    return 0


def _places(options: Options) -> tuple[str, str | None]:
    """Where the runs are, and where the page goes."""
    if (options.runs is None) == (options.sweep is None):
        message = "give one of the two" if options.runs is None else "give only one of the two"
        raise ConfigError([Problem("runs", message, None, "runs=FOLDER or sweep=NAME")])
    if options.runs is not None:
        return options.runs, options.output
    from lm_research.config.compose import compose

    config = compose([f"sweep={options.sweep}"]).config
    return config["output"], options.output or config["sweep"]["report"]


def report(runs: Path | str, output: Path | str | None) -> Path:
    """Print the tables, write the page, and return its path.

    Raises:
        ReportError: no runs there, or runs that cannot be compared, or no place to write to.
    """
    from lm_research.analysis.summary import summarise
    from lm_research.cli.runs import recorded

    try:
        return summarise(runs, output, find=recorded)
    except (OSError, ValueError) as error:
        raise ReportError(str(error)) from error
