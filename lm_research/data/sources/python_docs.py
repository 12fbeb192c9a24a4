"""Technical prose: the help topics of Python, as ``pydoc`` carries them, a section a document."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import StandardLibrarySource

# A heading is a line with a line of one punctuation character, just as long, below it.
UNDERLINE = re.compile(r"([*=~^\"-])\1{2,}")


class PythonDocs(StandardLibrarySource):
    """Sections of ``pydoc_data.topics``, which are chapters of the language reference.

    Topics overlap (``compound`` holds ``if``, which is a topic, too): of sections that differ at
    most in their heading's underline the first is kept, the others are counted as "duplicate",
    so that no text reaches two splits.
    """

    def __init__(
        self,
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _paths(self) -> list[Path]:
        return [self._locate("pydoc_data/topics.py")]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        seen: set[str] = set()
        for topic, text in self._topics(paths[0]).items():
            for number, section in enumerate(_sections(text)):
                key = _without_underline(section)
                if key in seen:
                    self.skipped["duplicate"] += 1
                    continue
                seen.add(key)
                yield self._document(f"{topic}/{number}", section)

    def _topics(self, path: Path) -> dict[str, str]:
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "topics":
                return ast.literal_eval(node.value)
        raise DataError(f"{self.name}: {path.name} has no dict called topics; {self._fix()}")


def _is_heading(lines: list[str], index: int) -> bool:
    """Whether the line at ``index`` is a heading's text."""
    if index + 1 >= len(lines):
        return False
    return bool(lines[index]) and (
        len(lines[index]) == len(lines[index + 1]) and bool(UNDERLINE.fullmatch(lines[index + 1]))
    )


def _sections(text: str) -> Iterator[str]:
    """Cut before each heading; a heading with nothing below it goes with the next section."""
    lines = text.split("\n")
    start = 0
    for index in range(1, len(lines)):
        if _is_heading(lines, index) and any(lines[start + 2 : index]):
            yield "\n".join(lines[start:index]).strip() + "\n"
            start = index
    yield "\n".join(lines[start:]).strip() + "\n"


def _without_underline(section: str) -> str:
    """The section as it would read at any other depth of headings."""
    lines = section.split("\n")
    return "\n".join(line for line in lines if not UNDERLINE.fullmatch(line))
