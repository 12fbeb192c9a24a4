"""Source code: the standard library of the running Python, one file a document."""

import os
import re
import tokenize
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from lm_research.data.document import Category, Document
from lm_research.data.sources.installed import StandardLibrarySource

TEST_FOLDERS = {"test", "tests", "idle_test"}
# Installed packages; prose that python_docs holds; what the build wrote about its machine.
FOREIGN = re.compile(
    r"site-packages|dist-packages|__pycache__|pydoc_data|config-.*|_sysconfigdata.*"
)
# encodings/ is mostly tables that a script wrote, a line for each of 256 characters.
CHARACTER_TABLE = re.compile(rb"^(decoding_table|decoding_map) = ", re.MULTILINE)


class PythonCode(StandardLibrarySource):
    """The standard library's ``*.py`` files.

    Left out: installed packages, ``pydoc_data`` (see ``PythonDocs``), files that the build of
    Python wrote, and, counted as "generated", the character tables of ``encodings``.

    Args:
        tests: whether the library's own tests are read too. They are larger than the library
            (17 MB), repeat it and hold files that are broken on purpose.
    """

    def __init__(
        self,
        tests: bool = False,
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
        self.tests = tests

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for folder, folders, files in os.walk(self._locate("")):
            folders[:] = [name for name in folders if self._is_read(name)]
            paths = (Path(folder, name) for name in files if name.endswith(".py"))
            found += [path for path in paths if self._is_read(path.name) and not path.is_symlink()]
        return sorted(found, key=lambda path: path.as_posix())

    def _is_read(self, name: str) -> bool:
        return not FOREIGN.fullmatch(name) and (self.tests or name not in TEST_FOLDERS)

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        root = self._locate("")
        for path in paths:
            content = path.read_bytes()
            if path.parent.name == "encodings" and CHARACTER_TABLE.search(content):
                self.skipped["generated"] += 1
                continue
            text = _decode(content)
            if text is None:
                self.skipped["undecodable"] += 1
            else:
                yield self._document(path.relative_to(root).as_posix(), text)


def _decode(content: bytes) -> str | None:
    """The text by the encoding that the file declares (PEP 263); ``None`` if that fails."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        return content.decode(encoding).replace("\r\n", "\n")
    except (SyntaxError, UnicodeDecodeError):
        return None
