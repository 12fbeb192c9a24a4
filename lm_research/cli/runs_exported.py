"""What ``lm-research runs export`` writes, and where."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Select

from lm_research.cli.tell import tell
from lm_research.config.problems import ConfigError, Problem
from lm_research.tracking.ledger.export import FORMATS, metric_batches, run_columns, write
from lm_research.tracking.ledger.ledger import Ledger

if TYPE_CHECKING:
    from lm_research.cli.runs import ExportOptions


def export(ledger: Ledger, query: Select, options: "ExportOptions") -> None:
    """Write the selected runs.

    Raises:
        ConfigError: the file is there already, its ending says nothing, or Parquet would go to a
            terminal.
    """
    form = _form(options)
    path = Path(options.output).expanduser() if options.output else None
    _check(path, form)
    runs = ledger.runs(query.limit(options.limit))
    batches = metric_batches(runs) if options.rows == "metrics" else iter([run_columns(runs)])
    if path is None:
        write(batches, form, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            write(batches, form, file)
        os.link(temporary, path)  # fails where another file has come in the meantime
    finally:
        temporary.unlink(missing_ok=True)
    tell(f"{len(runs):,} runs: {path}")


def _form(options: "ExportOptions") -> str:
    if options.format:
        return options.format
    ending = Path(options.output).suffix[1:] if options.output else "csv"
    if ending not in FORMATS:
        allowed = ", ".join(FORMATS)
        said = "its ending names no format; give format=... too"
        raise ConfigError([Problem("output", said, options.output, allowed)])
    return ending


def _check(path: Path | None, form: str) -> None:
    if path is None and form == "parquet" and sys.stdout.isatty():
        said = "would write binary to the terminal"
        raise ConfigError([Problem("format", said, form, "output=FILE, or a pipe")])
    if path is not None and os.path.lexists(path):
        said = "is there already, and nothing is overwritten"
        raise ConfigError([Problem("output", said, str(path), "a new file")])
    if path is not None and not path.parent.is_dir():
        raise ConfigError([Problem("output", "its folder is not there", str(path), "a new file")])
