"""Wikis from MediaWiki's XML dumps: articles as plain text."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.raw_files import RawFiles
from lm_research.data.sources.wiki_xml import Page, WikiXML

MOST_DEPTH = 100
"""Of brackets and tags in one another: the parser's time grows with its square."""
_BRACKET = re.compile(r"(\[\[|\{\{|\{\||<[a-zA-Z]+[^<>]{0,500}(?<!/)>)|(\]\]|\}\}|\|\}|</[a-zA-Z])")
_VOID = re.compile(r"<(?:br|hr|wbr|li|p|ref[^<>]*/)\b", re.IGNORECASE)
_UNREAD_TAGS = frozenset(
    (
        "ref",
        "references",
        "table",
        "gallery",
        "math",
        "score",
        "timeline",
        "syntaxhighlight",
        "chem",
    )
)
_OTHER_WIKI = re.compile(r"^:?[a-z]{2,3}(-[a-z]+)*:(?=\S)")
_SWITCH = re.compile(r"__[A-Z]+__")
_BLANKS = re.compile(r"[ \t]*\n(?:[ \t]*\n){2,}")


class WikiDump(RawFiles):
    """The pages of a dump's main namespace, a document each, with the page's title as id.

    Templates, tables, references, formulas, files and categories are removed; headings stay, as
    lines of their own. Of several revisions the last in the dump is read. Counted: "redirect",
    "other namespace", "not wikitext", "too large" (``max_page_bytes``), "too deep" (more than 100
    brackets or tags in one another), "malformed" (what follows the break is lost), and the reasons
    of ``raw_files``. A dump with a DTD or entities of its own raises ``DataError``.

    Args:
        keep_title: whether the title is the document's first line.
        max_page_bytes: characters of a page's source.
        paths, errors, max_document_bytes: see ``RawFiles``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    needs: ClassVar[tuple[str, ...]] = ("mwparserfromhell", "defusedxml")

    def __init__(
        self,
        paths: list[str] | str,
        keep_title: bool = True,
        max_page_bytes: PositiveInt = 2097152,
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
        self.keep_title = keep_title
        self.max_page_bytes = max_page_bytes

    def _read(self, path: Path, id: str) -> Iterator[Document]:
        with self._open(path) as stream:
            dump = WikiXML(stream, self.max_page_bytes)
            try:
                for page in dump.pages():
                    yield from self._page(page, dump.unseen)
            except ValueError as error:
                self._skip("malformed", id, str(error))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None

    def _page(self, page: Page, unseen: set[str]) -> Iterator[Document]:
        reason = self._unread(page)
        if reason:
            self._skip(reason, page.title)
            return
        text = plain_text(page.text, unseen)
        if not text:
            self._skip("empty", page.title)
            return
        yield from self._documents(
            f"{page.title}\n\n{text}" if self.keep_title else text, page.title
        )

    def _unread(self, page: Page) -> str | None:
        if page.ns.strip() != "0":
            return "other namespace"
        if page.redirect:
            return "redirect"
        if page.model not in ("", "wikitext"):
            return "not wikitext"
        if page.cut:
            return "too large"
        return "too deep" if depth(page.text) > MOST_DEPTH else None


def depth(source: str) -> int:
    """How many brackets and tags are open at most, closed or not; linear in the length."""
    now = most = 0
    for found in _BRACKET.finditer(source):
        if found[2]:
            now = max(0, now - 1)
        elif not _VOID.match(found[1]):
            now += 1
            most = max(most, now)
    return most


def plain_text(source: str, unseen: set[str]) -> str:
    """Wikitext as text.

    Args:
        source: wikitext.
        unseen: the names, in lower case, of the namespaces whose links show no text.
    """
    import mwparserfromhell

    code = mwparserfromhell.parse(source)
    for node in code.filter_tags(matches=lambda tag: str(tag.tag).lower() in _UNREAD_TAGS):
        _remove(code, node)
    for link in code.filter_wikilinks():
        title = str(link.title).strip()
        if title.partition(":")[0].lower() in unseen or _OTHER_WIKI.match(title):
            _remove(code, link)
    text = _SWITCH.sub("", code.strip_code(normalize=True, collapse=True))
    return _BLANKS.sub("\n\n", text).strip()


def _remove(code: Any, node: Any) -> None:
    with suppress(ValueError):  # it went with the one that held it
        code.remove(node)
