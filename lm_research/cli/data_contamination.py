"""``lm-research data contamination train=[A] evaluate=[B]``: what is in both sides."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lm_research.cli.data_audit import (
    MARK,
    AuditError,
    composed,
    prepared_folder,
    working,
)
from lm_research.cli.options import option, parse, split_config_dir

OVERLAP_MARK = MARK.replace("audit", "contamination")


@dataclass(frozen=True)
class Options:
    """Options of the action."""

    train: str = option(help="data options whose training splits are held against")
    evaluate: str = option(help="data options, the held-out documents of each")
    split: Literal["validation", "test"] = option("validation", "which held-out documents")
    output: str | None = option(None, "folder for contamination.json and contamination.html")


def run(arguments: list[str]) -> int:
    """Compare, print the table, and write what was found."""
    from rich.console import Console

    from lm_research.analysis.render import to_rich
    from lm_research.analysis.tables.audit import overlap_table

    config_dir, rest = split_config_dir(arguments)
    options, overrides = parse(Options, rest, ("data", "text", "splits", "source_timeout"))
    train, evaluate = (
        composed([*overrides, f"data={names}"], config_dir)
        for names in (options.train, options.evaluate)
    )
    folder = None if options.output is None else prepared_folder(options.output, "contamination")
    found = compare(train, evaluate, options.split)
    console = Console()
    table = overlap_table(found["pairs"])
    console.print(to_rich(table, console.width, console.encoding))
    console.print("\n".join(table.notes), style="dim", markup=False)
    if folder is not None:
        _write(found, folder)
    return 0


def compare(train: list[Any], evaluate: list[Any], split: str) -> dict[str, Any]:
    """What the evaluation sets' ``split`` shares with the training splits; plain JSON values."""
    from lm_research.data.audit.overlap_report import contamination

    with working() as (_, tell):
        found = contamination(_texts(train, "train"), _texts(evaluate, split), tell)
    return {"lm_research": "contamination", "format": 1, "split": split, **found}


def _texts(configs: list[Any], split: str) -> dict[str, Callable[[], Iterable[str]]]:
    """Name -> gives the texts of the split."""
    from lm_research.cli.data import whole

    selections = {config["data"]["name"]: whole(config) for config in configs}
    return {name: partial(one.texts, split) for name, one in selections.items()}


def _write(found: dict[str, Any], folder: Path) -> None:
    from lm_research.analysis.audit_page import contamination_page
    from lm_research.analysis.page import MARK as PAGE_MARK
    from lm_research.analysis.page import write_text

    text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    try:
        write_text(folder / "contamination.json", text, OVERLAP_MARK)
        write_text(folder / "contamination.html", contamination_page(found), PAGE_MARK)
    except OSError as error:
        raise AuditError(str(error)) from error
    print(f"contamination: {folder / 'contamination.html'}")
