"""Source code by language, from folders and repositories as they lie on disk."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.found import expand, walk
from lm_research.data.sources.raw_files import RawFiles

LANGUAGES: dict[str, str] = {
    "assembly": ".s .asm",
    "c": ".c .h",
    "c++": ".cc .cpp .cxx .hh .hpp .hxx .cu .cuh",
    "c#": ".cs",
    "css": ".css .scss .less",
    "go": ".go",
    "haskell": ".hs",
    "html": ".html .htm",
    "java": ".java",
    "javascript": ".js .mjs .cjs .jsx",
    "julia": ".jl",
    "kotlin": ".kt .kts",
    "lua": ".lua",
    "perl": ".pl .pm",
    "php": ".php",
    "python": ".py .pyi",
    "r": ".r",
    "ruby": ".rb",
    "rust": ".rs",
    "scala": ".scala",
    "shell": ".sh .bash .zsh",
    "sql": ".sql",
    "swift": ".swift",
    "typescript": ".ts .tsx",
}
VENDORED = frozenset(
    [
        "node_modules",
        "bower_components",
        "vendor",
        "vendored",
        "third_party",
        "thirdparty",
        "site-packages",
        "dist-packages",
        "__pycache__",
    ]
)
LONGEST_LINE = 5000  # characters: nobody writes longer ones by hand
MEAN_LINE = 300
_HEAD = 2000
_GENERATED = re.compile(
    r"@generated|do not edit|auto-?generated|generated (?:automatically|by)|code generated",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"^\s*(?:#|//|/?\*|--|;|<!--|%|\"\"\")")
_DECLARED = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]{1,40})", re.MULTILINE)


class CodeFiles(RawFiles):
    """A document for each source file, with the language as its label; comments stay as they are.

    Counted in ``skipped``: "ignored" (by a ``.gitignore``), "vendored" (folders of
    other people's code, such as ``node_modules``; one count a folder), "minified" (long lines),
    "generated" (a comment of the first 2000 characters says so), and the reasons of ``raw_files``.
    Hidden files are not looked at.

    Args:
        paths: files, folders or patterns. Of a folder, what git would ignore is left out.
        languages: which of ``LANGUAGES``; ``None`` is all.
        keep_vendored: whether other people's code in a repository is read too.
        max_file_bytes: a larger file is left out ("too large").
        errors, max_document_bytes: see ``RawFiles``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".py",)
    needs: ClassVar[tuple[str, ...]] = ("pathspec",)

    def __init__(
        self,
        paths: list[str] | str,
        languages: list[str] | None = None,
        keep_vendored: bool = False,
        max_file_bytes: PositiveInt = 1048576,
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
        chosen = list(LANGUAGES) if languages is None else list(languages)
        for language_name in chosen:
            if language_name not in LANGUAGES:
                raise ValueError(f"languages={language_name!r}: allowed are {', '.join(LANGUAGES)}")
        self.languages = {suffix: key for key in chosen for suffix in LANGUAGES[key].split()}
        self.keep_vendored = keep_vendored
        self.max_file_bytes = max_file_bytes

    def _is_wanted(self, path: Path) -> bool:
        return path.suffix.lower() in self.languages

    def _files(self) -> list[tuple[Path, str]]:
        found: dict[str, None] = {}
        for name in self.paths:
            folder = os.path.abspath(os.path.expanduser(name))
            inside = os.path.isdir(folder)
            files = list(self._tree(folder)) if inside else expand(name, self._is_wanted)
            if not files:
                raise DataError(
                    f"{self.name}: no source file in {name!r} (seen from {os.getcwd()}); left out: "
                    f"{dict(self.skipped) or 'nothing'}; fix: data.paths=[FOLDER], data.languages"
                )
            found |= {os.path.abspath(path): None for path in files}
        root = os.path.commonpath([os.path.dirname(path) for path in found])
        return [(Path(path), Path(path).relative_to(root).as_posix()) for path in found]

    def _tree(self, root: str) -> Iterator[str]:
        rules: dict[str, list[tuple[str, Any]]] = {}
        for folder, folders, files in walk(root):
            above = rules.get(os.path.dirname(folder), []) if folder != root else []
            rules[folder] = [*above, *_ignore_file(folder)]
            kept = [name for name in folders if self._enters(name, folder, rules[folder])]
            folders[:] = kept
            for name in files:
                path = os.path.join(folder, name)
                if self._is_wanted(Path(name)) and os.path.isfile(path):
                    if _ignored(path, rules[folder]):
                        self.skipped["ignored"] += 1
                    else:
                        yield path

    def _enters(self, name: str, folder: str, rules: list[tuple[str, Any]]) -> bool:
        if name in VENDORED and not self.keep_vendored:
            self.skipped["vendored"] += 1
            return False
        ignored = _ignored(os.path.join(folder, name) + "/", rules)
        if ignored:
            self.skipped["ignored"] += 1
        return not ignored

    def _read(self, path: Path, id: str) -> Iterator[Document]:
        content = self._whole(path, id, self.max_file_bytes)
        if content is None:
            return
        declared = _DECLARED.search(content[:200]) if path.suffix == ".py" else None
        text = self._decode(content, declared[1].decode() if declared else "utf-8", id)
        if text is None:
            return
        reason = unwritten(text.removeprefix("\ufeff"), path.name)
        if reason:
            self._skip(reason, id)
        else:
            yield from self._documents(text, id, self.languages.get(path.suffix.lower()))


def unwritten(text: str, name: str) -> str | None:
    """Why a file is nobody's writing: "minified", "generated", or ``None``."""
    lines = text.split("\n")
    longest, mean = max(map(len, lines)), len(text) / len(lines)
    if ".min." in name or longest > LONGEST_LINE or mean > MEAN_LINE:
        return "minified"
    comments = (line for line in text[:_HEAD].split("\n") if _COMMENT.match(line))
    return "generated" if any(map(_GENERATED.search, comments)) else None


def _ignore_file(folder: str) -> list[tuple[str, Any]]:
    """The rules of a folder's .gitignore, with the folder that they are relative to."""
    from pathspec import GitIgnoreSpec

    try:
        with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
            return [(folder, GitIgnoreSpec.from_lines(file))]
    except (OSError, ValueError):
        return []  # none, or patterns that git would not understand either


def _ignored(path: str, rules: list[tuple[str, Any]]) -> bool:
    """By git's rule: the last folder down whose patterns say anything decides."""
    for folder, spec in reversed(rules):
        verdict = spec.check_file(os.path.relpath(path, folder) + "/" * path.endswith("/")).include
        if verdict is not None:
            return bool(verdict)
    return False
