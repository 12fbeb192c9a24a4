"""Posts on disk by their parents, so that threads are put together in little memory."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_CACHE_KIB = 32_000


@dataclass(frozen=True, slots=True)
class Post:
    """One post; ``text`` is ``None`` where it was deleted, ``parent`` where it answers nothing."""

    id: str
    parent: str | None
    author: str
    text: str | None
    time: str


class ThreadIndex:
    """A temporary SQLite file of posts. Of several with one id the first counts.

    Attributes:
        repeated: posts whose id had been there before.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.repeated = 0
        connection.execute(
            "CREATE TABLE post (number INTEGER PRIMARY KEY, id TEXT UNIQUE, parent TEXT, "
            "author TEXT, text TEXT, time NUMERIC, seen INTEGER DEFAULT 0)"
        )

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator["ThreadIndex"]:
        """An empty index, which is gone afterwards."""
        with (
            tempfile.TemporaryDirectory(prefix="lm-research-threads-") as folder,
            closing(sqlite3.connect(Path(folder) / "posts.sqlite")) as connection,
        ):
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            yield cls(connection)

    def fill(self, posts: Iterable[Post]) -> None:
        """Store the posts."""
        for post in posts:
            changed = self._connection.execute(
                "INSERT OR IGNORE INTO post (id, parent, author, text, time) VALUES (?,?,?,?,?)",
                (post.id, post.parent, post.author, post.text, post.time),
            ).rowcount
            self.repeated += 1 - changed
        self._connection.execute("CREATE INDEX by_parent ON post (parent)")

    def roots(self) -> Iterator[Post]:
        """Posts that answer none of those that are here, in the order in which they came."""
        number = -1
        while row := self._connection.execute(
            "SELECT number, id, parent, author, text, time FROM post AS reply WHERE number > ? AND "
            "NOT EXISTS (SELECT 1 FROM post WHERE id = reply.parent) ORDER BY number LIMIT 1",
            (number,),
        ).fetchone():
            number = row[0]
            yield Post(*row[1:])

    def thread(self, root: Post) -> Iterator[Post]:
        """The root, then each reply followed by its own replies; the earlier of two first."""
        stack = [root]
        while stack:
            post = stack.pop()
            self._connection.execute("UPDATE post SET seen = 1 WHERE id = ?", (post.id,))
            yield post
            rows = self._connection.execute(
                "SELECT id, parent, author, text, time FROM post WHERE parent = ? AND id != ? "
                "ORDER BY time DESC, number DESC",
                (post.id, post.id),
            )
            stack += [Post(*row) for row in rows]

    def unreached(self) -> int:
        """Posts in no thread: those that answer each other in a circle."""
        row = self._connection.execute("SELECT COUNT(*) FROM post WHERE seen = 0").fetchone()
        return int(row[0])
