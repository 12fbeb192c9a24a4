"""Dumps of social media in JSON Lines: posts, or threads of posts with their replies."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.raw_files import RawFiles
from lm_research.data.sources.records import check_choice
from lm_research.data.sources.streams import record_lines
from lm_research.data.sources.thread_index import Post, ThreadIndex

LONGEST_RECORD = 16 * 2**20  # bytes
_KIND = re.compile(r"^t[1-6]_")  # Reddit's parents are named by kind, its posts are not
_BREAK = re.compile(r"<br ?/?>|</p>\s*(?=<p)", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>")
_MENTION = re.compile(r"(?<![\w/])(?:@|/?u/)([\w-]+(?:@[\w.-]+)?)")


class Posts(RawFiles):
    """A document for each post, or each thread: a post with its replies in the order of the tree.

    In a thread each post is a line "A: text", where the authors are A, B, C by their first
    appearance or mention (@name, u/name). Names without such a mark stay, and so do mentions in
    single posts. The thread's id is that of its first post. Threads are put together in a temporary
    file. Counted in ``skipped``: "deleted" (its replies stay), "malformed", "missing_field" (no id
    or text), "repeated" (an id that was there before) and "circle" (posts that answer each other)
    in threads, and the reasons of ``raw_files``. A reply to what is not there begins a thread.

    Args:
        document: "post" or "thread".
        text_field, id_field, parent_field, author_field, time_field: the keys of a record; a dot
            goes into an object ("account.acct"). All but the text's may be null for posts.
        title_field: the key of a title, which then stands before the text.
        deleted: texts of posts that were deleted.
        markup: "html" where the texts are HTML (Mastodon), "none" leaves them as they are.
        paths, errors, max_document_bytes: see ``RawFiles``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")

    def __init__(
        self,
        paths: list[str] | str,
        document: Literal["post", "thread"] = "post",
        text_field: str = "text",
        title_field: str | None = None,
        id_field: str | None = "id",
        parent_field: str | None = "parent_id",
        author_field: str | None = "author",
        time_field: str | None = None,
        deleted: list[str] | None = None,
        markup: Literal["none", "html"] = "none",
        errors: Literal["skip", "replace", "error"] = "skip",
        max_document_bytes: PositiveInt = 1048576,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            paths=paths,
            errors=errors,
            max_document_bytes=max_document_bytes,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        check_choice("document", document, ("post", "thread"))
        check_choice("markup", markup, ("none", "html"))
        if document == "thread" and (id_field is None or parent_field is None):
            raise ValueError("document='thread': needs id_field and parent_field")
        self.document, self.markup = document, markup
        self.text_field, self.title_field, self.id_field = text_field, title_field, id_field
        self.parent_field, self.author_field = parent_field, author_field
        self.time_field = time_field
        self.deleted = ["[deleted]", "[removed]"] if deleted is None else list(deleted)

    def _all(self) -> Iterator[Document]:
        if self.document == "post":
            yield from super()._all()
            return
        with ThreadIndex.temporary() as index:
            index.fill(post for path, id in self._files() for post in self._whole_posts(path, id))
            for root in index.roots():
                yield from self._thread(index.thread(root), root.id)
            for reason, count in (("repeated", index.repeated), ("circle", index.unreached())):
                if count:
                    self.skipped[reason] += count

    def _whole_posts(self, path: Path, id: str) -> Iterator[Post]:
        return self._guarded(self._posts(path, id), id)

    def _thread(self, posts: Iterable[Post], id: str) -> Iterator[Document]:
        """The thread's documents: one, or several above ``max_document_bytes``."""
        letters: dict[str, str] = {}
        held: list[str] = []
        size = number = 0
        for post in posts:
            letter = letters.setdefault(post.author or f"\0{post.id}", _letter(len(letters)))
            if post.text is None:
                self._skip("deleted", post.id)
                continue
            line = f"{letter}: {_pseudonymous(post.text, letters)}"
            if held and size + len(line.encode("utf-8", "replace")) > self.max_document_bytes:
                yield from self._documents("\n".join(held), f"{id}#{number}")
                held, size, number = [], 0, number + 1
            held.append(line)
            size += len(line.encode("utf-8", "replace")) + 1
        if held:
            yield from self._documents("\n".join(held), f"{id}#{number}" if number else id)

    def _read(self, path: Path, id: str) -> Iterator[Document]:
        for post in self._posts(path, id):
            if post.text is None:
                self._skip("deleted", post.id)
            else:
                yield from self._documents(post.text, post.id)

    def _posts(self, path: Path, id: str) -> Iterator[Post]:
        with self._open(path) as stream:
            try:
                for number, line in enumerate(record_lines(stream, LONGEST_RECORD), start=1):
                    if line.strip():
                        yield from self._post(line, f"{id}#{number}")
            except DataError as error:
                raise DataError(f"{path}: {error}") from None

    def _post(self, line: bytes, where: str) -> Iterator[Post]:
        text = self._decode(line, "utf-8", where)
        if text is None:
            return
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self._skip("malformed", where, "no JSON object")
            return
        id = _value(record, self.id_field) if self.id_field else where
        content = _value(record, self.text_field)
        if id is None or content is None:
            self._skip("missing_field", where)
            return
        parent = _value(record, self.parent_field)
        parent = None if parent is None or parent == id else _KIND.sub("", parent, count=1)
        author, time = _value(record, self.author_field), _value(record, self.time_field)
        yield Post(id, parent, author or "", self._text(record, content), time or "")

    def _text(self, record: dict[str, Any], content: str) -> str | None:
        if content.strip() in self.deleted:
            return None
        title = _value(record, self.title_field)
        parts = [part for part in (title, content) if part]
        if self.markup == "html":
            parts = [html.unescape(_MARKUP.sub("", _BREAK.sub("\n", part))) for part in parts]
        return "\n".join(parts).replace("\0", "")


def _value(record: dict[str, Any], key: str | None) -> str | None:
    """The value under a key, or under keys in one another ("account.acct"), as a string."""
    if key is None:
        return None
    value: Any = record.get(key)
    if value is None and "." in key:
        value = record
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return None if value is None or isinstance(value, (dict, list)) else _valid(str(value))


def _valid(text: str) -> str:
    """Without lone surrogates, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _letter(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _pseudonymous(text: str, letters: dict[str, str]) -> str:
    """The text with mentions (@name, u/name) by letters; who was not met yet gets the next."""
    return _MENTION.sub(lambda found: letters.setdefault(found[1], _letter(len(letters))), text)
