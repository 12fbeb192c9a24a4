"""How often the taggers agree with Universal Dependencies, where its files are at hand.

    LM_RESEARCH_UD=FOLDER pytest -s tests/text/test_tagging_accuracy.py

FOLDER has, at any depth, en_ewt-ud-test.conllu and zh_gsdsimp-ud-test.conllu (also .gz).
"""

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm_research.text.chinese_tagger import ChineseTagger
from lm_research.text.english_tagger import EnglishTagger
from lm_research.text.tags import Tagger

FOLDER = os.environ.get("LM_RESEARCH_UD", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="LM_RESEARCH_UD names no folder of treebanks")


def sentences(name: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Text, and its words with their UPOS."""
    (file,) = Path(FOLDER).rglob(f"{name}.conllu*")
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as stream:
        text, words = "", []
        for line in stream:
            fields = line.rstrip("\n").split("\t")
            if line.startswith("# text = "):
                text = line[9:].rstrip("\n")
            elif fields[0].isdigit():
                words.append((fields[1], fields[3]))
            elif not line.strip() and words:
                yield text, words
                text, words = "", []


def starts(pieces: list[tuple[str, str]]) -> dict[tuple[int, int], str]:
    """(first, end) without counting white space -> tag."""
    found, at = {}, 0
    for piece, tag in pieces:
        size = len("".join(piece.split()))
        if size:
            found[at, at + size] = tag
        at += size
    return found


def accuracy(tagger: Tagger, name: str) -> dict[str, float]:
    """Agreement on words that both cut alike, on words that begin alike, and how many those are."""
    counts: Counter[str] = Counter()
    for text, words in sentences(name):
        ours = starts(tagger.tag(text))
        begins = {first: tag for (first, _), tag in ours.items()}
        for span, tag in starts(words).items():
            counts["words"] += 1
            counts["same"] += span in ours
            counts["same right"] += ours.get(span) == tag
            counts["begun"] += span[0] in begins
            counts["begun right"] += begins.get(span[0]) == tag
    return {
        "words": counts["words"],
        "cut alike": counts["same"] / counts["words"],
        "accuracy where cut alike": counts["same right"] / counts["same"],
        "begun alike": counts["begun"] / counts["words"],
        "accuracy where begun alike": counts["begun right"] / counts["begun"],
    }


def test_english():
    found = accuracy(EnglishTagger(), "en_ewt-ud-test")
    print(found)
    assert found["begun alike"] > 0.95
    assert found["accuracy where begun alike"] > 0.92


def test_chinese():
    found = accuracy(ChineseTagger(), "zh_gsdsimp-ud-test")
    print(found)
    assert found["accuracy where cut alike"] > 0.75
