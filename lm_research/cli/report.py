"""``lm-research report runs=FOLDER``: tables and an HTML page from recorded runs."""

from dataclasses import dataclass
from pathlib import Path

from lm_research.cli.options import help_text, option, parse

SUMMARY = (
    "Read the run folders at or below a folder: tables in the terminal, one HTML page on disk."
)


class ReportError(Exception):
    """Runs that cannot be reported; says why."""


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    runs: str = option(help="folder of a sweep, of several runs, or of one")
    output: str | None = option(None, "the HTML file; null: report.html in that folder")


def run(arguments: list[str]) -> int:
    """Write the report."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("report", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    print(f"report: {report(options.runs, options.output)}")
    return 0


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
