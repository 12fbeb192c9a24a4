"""Pages out of MediaWiki's XML dumps, as a stream; no entity is ever expanded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lm_research.data.document import DataError

_BUFFER = 1 << 16
_FIELDS = ("title", "ns", "text", "model")
_FILE, _CATEGORY = "6", "14"  # namespaces, whose names depend on the wiki's language


@dataclass(slots=True)
class Page:
    """A page with its last revision in the dump. ``text`` is cut at the limit, ``cut`` says so."""

    title: str = ""
    ns: str = "0"
    text: str = ""
    model: str = "wikitext"
    redirect: bool = False
    cut: bool = False


@dataclass
class _Target:
    """What expat's events build. Memory: one page's text, at most ``limit`` characters of it."""

    limit: int
    pages: list[Page] = field(default_factory=list)
    unseen: set[str] = field(default_factory=lambda: {"file", "image", "category"})
    page: Page = field(default_factory=Page)
    held: list[str] | None = None
    size: int = 0
    first: str = ""
    namespace: str = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        self.first = self.first or name
        if name == "page":
            self.page = Page()
        elif name == "redirect":
            self.page.redirect = True
        elif name in _FIELDS or name == "namespace":
            self.namespace = attributes.get("key", "")
            self.held, self.size = [], 0

    def data(self, content: str) -> None:
        if self.held is None:
            return
        self.size += len(content)
        if self.size <= self.limit:
            self.held.append(content)

    def end(self, tag: str) -> None:
        name = tag.rpartition("}")[2]
        if name == "page":
            self.pages.append(self.page)
        elif self.held is not None and name == "namespace":
            if self.namespace in (_FILE, _CATEGORY):
                self.unseen.add("".join(self.held).lower())
            self.held = None
        elif self.held is not None and name in _FIELDS:
            setattr(self.page, name, "".join(self.held))
            if name == "text":
                self.page.cut = self.size > self.limit
            self.held = None

    def close(self) -> None:
        """Nothing is left to do at the end."""


class WikiXML:
    """The pages of one dump.

    Args:
        stream: XML, decompressed.
        limit: characters of a page's text that are kept.

    Attributes:
        unseen: the wiki's names of the namespaces for files and categories, in lower case.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._target = _Target(limit)
        self.unseen = self._target.unseen

    def pages(self) -> Iterator[Page]:
        """Raises ``DataError`` for a DTD or entities, ``ValueError`` where it is no wiki's XML."""
        from xml.etree.ElementTree import ParseError

        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser

        target: Any = self._target
        parser = DefusedXMLParser(target=target, forbid_dtd=True)
        try:
            while content := self._stream.read(_BUFFER):
                parser.feed(content)
                yield from self._parsed()
            parser.close()
        except DefusedXmlException as error:
            raise DataError(
                f"a DTD or an entity of its own, which no dump has ({type(error).__name__}), is "
                "refused; fix: download the dump again"
            ) from None
        except ParseError as error:
            raise ValueError(str(error)) from None
        yield from self._parsed()

    def _parsed(self) -> Iterator[Page]:
        if self._target.first not in ("", "mediawiki"):
            raise ValueError(f"the first element is <{self._target.first}>, not <mediawiki>")
        pages, self._target.pages = self._target.pages, []
        yield from pages
