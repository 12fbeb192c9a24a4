"""Technical, parallel: the texts of JupyterLab's user interface with their translations."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import InstalledSource

CONTEXT_END = "\x04"  # gettext writes "context\x04message" where one message needs two translations


class Interface(InstalledSource):
    """Messages of a JupyterLab language pack; the label is the program they belong to.

    Messages without a translation are counted as "untranslated", pairs that another program has
    already shown as "duplicate". Of the forms for different numbers the first is taken.

    Args:
        locale: of the language pack, as in its package's name: "zh-CN", "de-DE".
        text: which side is the document's text; the other one is its ``target``. ``language``
            is that of the text.
    """

    def __init__(
        self,
        locale: str,
        text: Literal["english", "translation"] = "english",
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution=f"jupyterlab-language-pack-{locale}",
            extra="corpora" if locale == "zh-CN" else None,
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        if text not in ("english", "translation"):
            raise ValueError(f"text={text!r}: allowed are 'english' and 'translation'")
        self.locale = locale
        self.text = text

    def _paths(self) -> list[Path]:
        locale = self.locale.replace("-", "_")
        folder = f"jupyterlab_language_pack_{locale}/locale/{locale}/LC_MESSAGES"
        paths = sorted(self._locate(folder).glob("*.json"))
        if not paths:
            raise DataError(f"{self.name}: {folder} holds no messages; {self._fix()}")
        return paths

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        seen: set[tuple[str, str]] = set()
        for path in paths:
            messages = json.loads(path.read_text(encoding="utf-8"))
            messages.pop("", None)  # the file's own header
            for number, (key, forms) in enumerate(messages.items(), start=1):
                pair = (key.rpartition(CONTEXT_END)[2], forms[0] if forms else "")
                if not pair[1].strip():
                    self.skipped["untranslated"] += 1
                elif pair in seen:
                    self.skipped["duplicate"] += 1
                else:
                    seen.add(pair)
                    text, target = pair if self.text == "english" else pair[::-1]
                    yield self._document(f"{path.stem}/{number}", text, path.stem, target)
