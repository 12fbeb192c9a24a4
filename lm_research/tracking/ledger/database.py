"""The file of a ledger: where it lies, and what becomes of one that cannot be trusted.

It lies in the folder that it describes; where that cannot be written, in the user's cache; where
that cannot be written either, in memory. A ledger of another version, or that came with a folder
that was copied here, is emptied in one transaction. A file that is damaged, or none of ours, is set
aside.
"""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from lm_research.config.untrusted import open_plain
from lm_research.tracking.ledger.schema import APPLICATION, METADATA, OWNER, VERSION, VIEWS

FILE = "ledger.sqlite"
_PATIENCE_S = 60.0
_BESIDE = ("", "-wal", "-shm")
_REFUSED = {"READONLY", "CANTOPEN", "FULL", "IOERR", "PERM", "AUTH", "PROTOCOL", "NOLFS"}


def places(folder: Path, cache_folder: Path) -> Iterator[Path | None]:
    """Where the ledger of ``folder`` may lie, the best first; ``None`` is memory."""
    yield folder / FILE
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    with suppress(OSError):
        (cache_folder / "ledgers").mkdir(parents=True, exist_ok=True)
        yield cache_folder / "ledgers" / f"{folder.name}-{digest}.sqlite"
    yield None


def connect(path: Path | None) -> Engine:
    """An engine on the file ``path``, made if missing, or on memory.

    Raises:
        ForeignFileError: the file is somebody else's database.
        OSError: ``path`` is a link, a folder, or cannot be opened.
        sqlalchemy.exc.DatabaseError, sqlite3.DatabaseError: no SQLite database, or a damaged one.
    """
    if path is None:
        engine = create_engine("sqlite://", poolclass=StaticPool)
    else:
        os.close(open_plain(path, os.O_RDWR | os.O_CREAT))
        _look(path)
        options = {"timeout": _PATIENCE_S, "check_same_thread": False}
        engine = create_engine(f"sqlite:///{path}", connect_args=options)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


class ForeignFileError(Exception):
    """A database in the ledger's place that is none of ours."""


def _look(path: Path) -> None:
    """Read whose the file is before anything in it is touched."""
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise ForeignFileError("it is a database, but not a ledger")


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    for pragma in (
        "trusted_schema = OFF",  # the file may have come with a stranger's folder
        "cell_size_check = ON",
        "foreign_keys = ON",
        "journal_mode = WAL",
        "synchronous = NORMAL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def writing(engine: Engine) -> Engine:
    """``engine``, for transactions that will write: they wait for others at once."""
    return engine.execution_options(begin="BEGIN IMMEDIATE")


def prepare(engine: Engine, owner: str) -> str | None:
    """Make the tables where they are missing; empty a ledger that is not for us to trust.

    Args:
        engine: of a ledger.
        owner: what tells the described folder from a copy of it.

    Returns:
        Why the ledger was begun anew, or ``None``.
    """
    with engine.connect() as connection:
        if _distrust(connection, owner) is None:
            return None
    with writing(engine).begin() as connection:
        why = _distrust(connection, owner)
        if why is not None:  # another process may have been faster
            _empty(connection)
            _create(connection, owner)
        return why or None


def _create(connection: Connection, owner: str) -> None:
    METADATA.create_all(connection)
    for view in VIEWS:
        connection.exec_driver_sql(view)
    connection.execute(OWNER.insert(), {"folder": owner})
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _distrust(connection: Connection, owner: str) -> str | None:
    """Why the ledger must be made anew, "" if it is empty; ``None``: it can be used."""
    version, layout = _pragma(connection, "user_version"), _layout(connection)
    if not layout:
        return ""
    if version != VERSION:
        return f"it was of version {version}, this is version {VERSION}"
    if layout != _our_layout():
        return "its tables were not as they should be"
    if connection.execute(select(OWNER.c.folder)).scalar() != owner:
        return "it was made for another folder, of which this may be a copy"
    return None


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _layout(connection: Connection) -> list[tuple[str, ...]]:
    query = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
    return [tuple(row) for row in connection.exec_driver_sql(query)]


@cache
def _our_layout() -> list[tuple[str, ...]]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        _create(connection, "")
        return _layout(connection)


def _empty(connection: Connection) -> None:
    for kind in ("trigger", "view", "table"):
        query = "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%' "
        query += "ORDER BY rowid DESC"  # what refers to a table before the table
        for name in connection.exec_driver_sql(query, (kind,)).scalars().all():
            quoted = name.replace('"', '""')
            connection.exec_driver_sql(f'DROP {kind} "{quoted}"')


def refused(error: BaseException) -> bool:
    """Whether the system would not have the file opened or written: another place is needed."""
    return isinstance(error, OSError) or bool(_names(error) & _REFUSED)


def _names(error: BaseException) -> set[str]:
    name = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    return set(name.split("_"))


def set_aside(path: Path) -> Path | None:
    """Move a damaged or foreign file out of the way, unless another process just did.

    Returns:
        Where it lies now, or ``None`` if what is there is sound.
    """
    with only_one(path.parent):
        if _sound(path):
            return None
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in reversed(_BESIDE):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")
        return aside


def _sound(path: Path) -> bool:
    try:
        _look(path)
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except (sqlite3.Error, ForeignFileError):
        return False


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a lock on ``folder`` itself, which leaves no file behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every network file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
