"""What `lm-research reproduce` said last of the experiments below a folder, as rows of a ledger."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from lm_research.analysis.runs import number
from lm_research.analysis.sweep import VERDICT
from lm_research.config.choices import mapping
from lm_research.config.untrusted import LARGEST_JSON, UntrustedError, load_json, read_plain
from lm_research.tracking.ledger.database import writing
from lm_research.tracking.ledger.recording import Row, text
from lm_research.tracking.ledger.schema import PUBLISHED
from lm_research.tracking.redaction import redacted

_SPREAD = ("mean", "low", "high")


def refresh_published(engine: Engine, root: Path, runs: Collection[str]) -> None:
    """Make the ledger say what the files of verdicts say; there are few, so all or none are read.

    Args:
        engine: of the ledger.
        root: the described folder.
        runs: the run folders below it, which hold no verdicts.
    """
    found = dict(_signatures(root, runs))
    with engine.connect() as connection:
        query = select(PUBLISHED.c.folder, PUBLISHED.c.signature).distinct()
        if dict(connection.execute(query).tuples().all()) == found:
            return
    rows = [row for folder, mark in found.items() for row in _rows(root, folder, mark)]
    with writing(engine).begin() as connection:
        connection.execute(delete(PUBLISHED))
        if rows:
            connection.execute(insert(PUBLISHED), rows)


def _signatures(root: Path, runs: Collection[str]) -> Iterator[tuple[str, str]]:
    """Folder, relative to ``root`` -> what changes when its file does."""
    for place, folders, files in os.walk(root):
        here = str(Path(place).relative_to(root))
        inner = ((name, str(Path(here, name))) for name in folders if not name.startswith("."))
        folders[:] = [name for name, path in inner if path not in runs]
        if VERDICT in files and here not in runs:
            with suppress(OSError):  # gone since it was listed
                s = os.lstat(f"{place}/{VERDICT}")
                yield here, f"{s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"


def _rows(root: Path, folder: str, signature: str) -> Iterator[Row]:
    """A row for each published number; a damaged file has one that says so."""
    try:
        recorded = redacted(load_json(read_plain(root / folder / VERDICT, LARGEST_JSON)))
        rows = [_row(mapping(row)) for row in recorded["rows"]]
        shared = {"experiment": text(recorded.get("experiment"))}
    except (OSError, UntrustedError, KeyError, TypeError, AttributeError) as error:
        rows, shared = [_row({"state": "damaged", "why": str(error)})], {"experiment": None}
    for row in rows:
        yield {"folder": text(folder), "signature": signature, **shared, **row}


def _row(row: Any) -> Row:
    ours = mapping(row.get("ours"))
    return {
        **{key: text(row.get(key)) for key in ("name", "metric", "mark", "state", "why")},
        **{key: number(row.get(key)) for key in ("published", "tolerance")},
        **{key: number(ours.get(key)) for key in _SPREAD},
        "seeds": number(ours.get("n")),
    }
