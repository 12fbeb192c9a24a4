"""Text to count: corpora that the user has (``LM_RESEARCH_DOWNLOADS``), or what pip brings."""

import gzip
import lzma
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")


def texts() -> tuple[str, list[str]]:
    """What the corpus is, and its documents (lower case)."""
    folder = os.environ.get("LM_RESEARCH_DOWNLOADS")
    if folder:
        return "WikiText-2, Brown, War and Peace", [t.lower() for t in _downloads(Path(folder))]
    from lm_research.config.build import build
    from lm_research.config.compose import compose

    names = ["bbc_news", "bible_kjv"]
    nodes = [compose([f"data={name}"]).config["data"] for name in names]
    return ", ".join(names), [d.text.lower() for node in nodes for d in build(node)]


def _downloads(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "wikitext-2/train.txt.gz", "rt", encoding="utf-8") as file:
        yield from re.split(r"\n = [^=]+ = \n", file.read().replace("<unk>", "\n"))
    with zipfile.ZipFile(folder / "nltk/brown.zip") as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(r"brown/c[a-r]\d\d", name):
                yield re.sub(r"/[^\s/]+(?=\s|$)", "", archive.read(name).decode())
    with lzma.open(folder / "war-and-peace/warandpeace.txt.xz", "rt", encoding="utf-8") as file:
        yield from re.split(r"\nCHAPTER [IVXL]+\n", file.read())


def encoded(documents: list[str], least: int = 5) -> tuple[list[str], list[np.ndarray]]:
    """Words that occur ``least`` times or more, by frequency, and the documents' ids without
    others."""
    pieces = [_WORD.findall(document) for document in documents]
    counts = Counter(word for words in pieces for word in words)
    kept = [word for word, count in counts.most_common() if count >= least]
    id_of = {word: id for id, word in enumerate(kept)}
    return kept, [np.array([id_of[w] for w in words if w in id_of]) for words in pieces]
