"""Bringing a ledger up to date: the folders whose files changed are read, the others are not.

Which changed is told by inode, size and times of the files. They are looked at before anything is
read, so that a file that changes meanwhile is read again the next time; and the ledger's own list
is read before the folders, so that what another process just added is not taken for removed.
Reading happens outside of transactions, writing in short ones: two processes may refresh at once,
and one that is killed loses what it had not written.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, Table, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from lm_research.analysis.runs import run_folders
from lm_research.tracking.ledger.database import writing
from lm_research.tracking.ledger.publishing import refresh_published
from lm_research.tracking.ledger.recording import FILES, Recorded, RecordReader, Row, state_of
from lm_research.tracking.ledger.schema import CURVES, DATA_SETS, ENVIRONMENTS, EVALUATIONS, RUNS

BATCH = 200
"""Runs written by one transaction."""
Batch = list[tuple[str, str]]
"""Folders and their signatures."""


def refresh(
    engine: Engine, root: Path, progress: Callable[[int, int], None] = lambda done, of: None
) -> int:
    """Make the ledger say what the folders below ``root`` say.

    Args:
        engine: of the ledger.
        root: the described folder.
        progress: called with the number of folders read and to read, after each batch.

    Returns:
        How many runs were read, anew or again.
    """
    with engine.connect() as connection:
        rows = connection.execute(select(RUNS.c.folder, RUNS.c.signature))
        known = dict(rows.tuples().all())
    found = signatures(root)
    changed = [(folder, mark) for folder, mark in found.items() if known.get(folder) != mark]
    gone = [{"gone": folder} for folder in known.keys() - found.keys()]
    if gone:
        with writing(engine).begin() as connection:
            _remove(connection, gone)
    read, done = RecordReader(root), 0
    for batch in _batches(changed):
        recorded = [read(*pair) for pair in batch]
        with writing(engine).begin() as connection:
            _store(connection, recorded)
        done += len(recorded)
        progress(done, len(changed))
    _look_at_locks(engine, root)
    refresh_published(engine, root, found.keys())
    return done


def signatures(root: Path) -> dict[str, str]:
    """Run folder, relative to ``root`` -> what changes when one of its files does."""
    start = len(os.path.join(root, ""))
    return {place[start:] or ".": _signature(place, files) for place, files in run_folders(root)}


def _signature(place: str, files: set[str]) -> str:
    marks = []
    for name in FILES:
        if name in files:
            with suppress(OSError):  # gone since it was listed
                s = os.lstat(f"{place}/{name}")
                marks.append((name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
    return hashlib.blake2b(repr(marks).encode(), digest_size=12).hexdigest()


def _batches(changed: Iterable[tuple[str, str]]) -> Iterator[Batch]:
    left = iter(changed)
    while batch := list(islice(left, BATCH)):
        yield batch


def _store(connection: Connection, batch: Sequence[Recorded]) -> None:
    """Write runs, in the place of what was known of their folders."""
    data_sets = _ids(connection, DATA_SETS, [r.data_set for r in batch])
    environments = _ids(connection, ENVIRONMENTS, [r.environment for r in batch])
    rows = [
        {
            **r.run,
            "data_set": r.data_set and data_sets[r.data_set["digest"]],
            "environment": r.environment and environments[r.environment["digest"]],
        }
        for r in batch
    ]
    write = insert(RUNS)
    kept = {c.name: c for c in write.excluded if c.name not in ("id", "folder")}
    connection.execute(write.on_conflict_do_update([RUNS.c.folder], set_=kept), rows)
    ids = _by(connection, RUNS.c.folder, [r.run["folder"] for r in batch])
    numbers = [ids[r.run["folder"]] for r in batch]
    for table in (EVALUATIONS, CURVES):
        connection.execute(delete(table).where(table.c.run.in_(numbers)))
    pairs = list(zip(numbers, batch, strict=True))
    connection.execute(insert(CURVES), [{"run": n, **r.curve} for n, r in pairs])
    if scored := [{"run": n, **row} for n, r in pairs for row in r.evaluations]:
        connection.execute(insert(EVALUATIONS), scored)


def _ids(connection: Connection, table: Table, rows: Iterable[Row | None]) -> dict[str, int]:
    """Digest -> id, of rows that are added where they are new."""
    distinct = {row["digest"]: row for row in rows if row is not None}
    if not distinct:
        return {}
    connection.execute(insert(table).on_conflict_do_nothing(), list(distinct.values()))
    return _by(connection, table.c.digest, list(distinct))


def _by(connection: Connection, column: Column, values: Sequence[str]) -> dict[str, int]:
    query = select(column, column.table.c.id).where(column.in_(values))
    return dict(connection.execute(query).tuples().all())


def _remove(connection: Connection, gone: Sequence[Row]) -> None:
    """Forget folders that are not there any more, and what only they referred to."""
    for start in range(0, len(gone), BATCH):
        folders = [row["gone"] for row in gone[start : start + BATCH]]
        connection.execute(delete(RUNS).where(RUNS.c.folder.in_(folders)))
    for table, used in ((DATA_SETS, RUNS.c.data_set), (ENVIRONMENTS, RUNS.c.environment)):
        in_use = select(used).where(used.is_not(None))
        connection.execute(delete(table).where(table.c.id.not_in(in_use)))


def _look_at_locks(engine: Engine, root: Path) -> None:
    """Whether a run that says that it runs is run by anybody changes without its files."""
    query = select(RUNS.c.id, RUNS.c.folder, RUNS.c.state)
    with engine.connect() as connection:
        rows = connection.execute(query.where(RUNS.c.state.in_(["running", "stale"]))).all()
    for number, folder, state in rows:
        now = state_of("running", root / folder)
        if now != state:
            with writing(engine).begin() as connection:
                connection.execute(update(RUNS).where(RUNS.c.id == number).values(state=now))
