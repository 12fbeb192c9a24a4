"""What the sources share whose text lies in an installed package or in the standard library.

The packages are never imported: their files are found through the installation's metadata and
read as data. With a ``sha256`` the files are checked before the first document is yielded.
"""

import hashlib
import json
import sysconfig
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import ClassVar

from lm_research.data.document import Category, DataError, Document, Source


class InstalledSource(Source):
    """Documents out of the files of a distribution that pip installed.

    A subclass says which files (``_paths``) and how they become documents (``_documents``); it
    raises ``revision`` when it cuts the same files into other documents than before.

    Args:
        distribution: the distribution's name, as pip knows it.
        extra: the extra of lm-research that brings it, or ``None``.
        sha256: of the files' bytes, one after the other in the order of ``_paths``; ``None``
            leaves them unchecked.
    """

    revision: ClassVar[int] = 1

    def __init__(
        self,
        *,
        distribution: str,
        extra: str | None,
        sha256: str | None,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str,
    ) -> None:
        super().__init__(
            name=name, language=language, category=category, licence=licence, citation=citation
        )
        self.distribution = distribution
        self.extra = extra
        self.sha256 = sha256

    @abstractmethod
    def _paths(self) -> list[Path]:
        """The files that are read, in their order. Raises ``DataError`` if they are not there."""

    @abstractmethod
    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        """Cut the files into documents; whatever is left out goes into ``skipped``."""

    def __iter__(self) -> Iterator[Document]:
        self.skipped = Counter()
        paths = self._paths()
        self._check(paths)
        for document in self._documents(paths):
            if document.text.strip():
                yield document
            else:
                self.skipped["empty"] += 1

    def signature(self) -> str:
        """The versions of the package and of how it is cut, the options, and the files' sizes."""
        paths = self._paths()
        files = [(path.name, path.stat().st_size) for path in paths]
        options = {
            key: value
            for key, value in vars(self).items()
            if key not in ("skipped", "language", "category", "licence", "citation")
        }
        content = json.dumps([self.revision, options, files], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return f"{type(self).__name__}:{self._version()}:{digest}"

    def _version(self) -> str:
        return f"{self.distribution}=={self._metadata().version}"

    def _metadata(self) -> metadata.Distribution:
        try:
            return metadata.distribution(self.distribution)
        except metadata.PackageNotFoundError:
            raise DataError(
                f"{self.name}: the package {self.distribution} is not installed; {self._fix()}"
            ) from None

    def _fix(self) -> str:
        wanted = f"lm-research[{self.extra}]" if self.extra else self.distribution
        return f"fix: pip install '{wanted}'"

    def _locate(self, path: str) -> Path:
        """Find ``path`` among the distribution's files: in site-packages, or below the prefix.

        Raises ``DataError`` when the distribution is missing or does not hold it.
        """
        distribution = self._metadata()
        found = Path(str(distribution.locate_file(path)))
        if found.exists():
            return found
        for file in distribution.files or ():
            parts = file.as_posix().split(path, 1)
            if len(parts) == 2 and parts[0].endswith("/") and parts[1][:1] in ("", "/"):
                return Path(str(distribution.locate_file(parts[0] + path)))
        raise DataError(
            f"{self.name}: {self._version()} has no {path}; fix: pip install --force-reinstall "
            f"'{self._version()}'"
        )

    def _check(self, paths: list[Path]) -> None:
        if self.sha256 is None:
            return
        digest = hashlib.sha256()
        for path in paths:
            digest.update(path.read_bytes())
        if digest.hexdigest() != self.sha256:
            raise DataError(
                f"{self.name}: the text of {self._version()} has sha256 {digest.hexdigest()}, "
                f"expected {self.sha256}; {self._fix()} (the pinned version), or set "
                f"sha256 to null to read it as it is"
            )

    def _document(
        self, id: str, text: str, label: str | None = None, target: str | None = None
    ) -> Document:
        return Document(text, self.name, f"{self.name}/{id}", label, target)


class StandardLibrarySource(InstalledSource):
    """Documents out of the files of Python's standard library; they differ by Python's version."""

    def __init__(
        self,
        *,
        sha256: str | None,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str,
    ) -> None:
        super().__init__(
            distribution="Python",
            extra=None,
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _version(self) -> str:
        return f"Python=={python_version()}"

    def _fix(self) -> str:
        return "fix: install the whole standard library of this Python"

    def _locate(self, path: str) -> Path:
        found = Path(sysconfig.get_path("stdlib")) / path
        if not found.exists():
            raise DataError(f"{self.name}: {self._version()} has no {path}; {self._fix()}")
        return found
