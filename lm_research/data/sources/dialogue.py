"""Dialogue: user-contributed conversations, out of the package chatterbot-corpus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import InstalledSource


class Dialogue(InstalledSource):
    """Conversations, a turn a line, the speakers taking turns; the label is the topic.

    Entries that are no list of turns are counted as "malformed", those that repeat an earlier one
    of the same topic (more than half of the English ones) as "duplicate".

    Args:
        folder: the corpus's folder for one of its 28 languages ("english", "chinese", ...).
    """

    def __init__(
        self,
        folder: str,
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution="chatterbot-corpus",
            extra="corpora",
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        self.folder = folder

    def _paths(self) -> list[Path]:
        data = self._locate("chatterbot_corpus/data")
        paths = sorted((data / self.folder).glob("*.yml"))
        if not paths:
            folders = ", ".join(sorted(path.name for path in data.iterdir()))
            raise DataError(f"{self.name}: no folder {self.folder!r}; there are {folders}")
        return paths

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        for path in paths:
            seen: set[str] = set()
            for number, turns in enumerate(_conversations(path)):
                if not (isinstance(turns, list) and all(isinstance(turn, str) for turn in turns)):
                    self.skipped["malformed"] += 1
                    continue
                text = "".join(turn.strip() + "\n" for turn in turns)
                if text in seen:
                    self.skipped["duplicate"] += 1
                    continue
                seen.add(text)
                yield self._document(f"{path.stem}/{number}", text, path.stem)


def _conversations(path: Path) -> list[Any]:
    import yaml

    # The base loader keeps every scalar a string: an answer "Yes" or "42" stays what was said.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    return yaml.load(path.read_text(encoding="utf-8"), loader)["conversations"]
