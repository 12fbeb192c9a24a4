"""Which languages the documents are in, how they read, and their words and parts of speech."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from lm_research.text.tags import NO_TAG, Tagger
from lm_research.text.units import units

ENOUGH_BYTES = 40
"""A shorter text says too little of its language."""
MOST_IDENTIFIED = 2000
TAGGED_BYTES = 200_000
_LETTER = re.compile(r"[a-z]")
_ENGLISH_END = re.compile(r"[.!?]+(?:[\"')\]]*)(?=\s|$)|\n\s*\n")
_CHINESE_END = re.compile(r"[。！？!?；;…\n]+")
_VOWELS = re.compile(r"[aeiouy]+")


def identified(texts: Sequence[str]) -> dict[str, Any]:
    """Language (ISO 639) -> documents, by py3langid (Lui and Baldwin 2012), commonest first.

    Texts under 40 bytes are "too short"; at most 2,000 are looked at. It knows natural languages
    alone: what it says of program code or lists means nothing.
    """
    import py3langid

    found: Counter[str] = Counter()
    for text in texts[:MOST_IDENTIFIED]:
        long = len(text.encode("utf-8", "replace")) >= ENOUGH_BYTES
        found[str(py3langid.classify(text[:5000])[0]) if long else "too short"] += 1
    return {"documents": min(len(texts), MOST_IDENTIFIED), "languages": dict(found.most_common())}


def readability(texts: Sequence[str], language: str) -> dict[str, float | None]:
    """English: Flesch reading ease (1948). Chinese: characters a sentence. Else nothing.

    Flesch: 206.835 - 1.015 words/sentences - 84.6 syllables/words; 60 to 70 is plain English, under
    30 hard. Syllables are counted as groups of vowels, less a silent final e: an approximation.
    """
    if language == "zh":
        sentences = [s for text in texts for s in _CHINESE_END.split(text) if units(s)]
        characters = sum(len(units(sentence)) for sentence in sentences)
        return {"characters_per_sentence": characters / len(sentences) if sentences else None}
    if language != "en":
        return {}
    words = sentences_count = syllables = 0
    for text in texts:
        for sentence in _ENGLISH_END.split(text):
            found = [w for w in units(sentence) if _LETTER.search(w)]
            sentences_count += bool(found)
            words += len(found)
            syllables += sum(map(_syllables, found))
    if not words:
        return {"flesch_reading_ease": None, "words_per_sentence": None}
    length = words / sentences_count
    ease = 206.835 - 1.015 * length - 84.6 * syllables / words
    return {"flesch_reading_ease": ease, "words_per_sentence": length}


def _syllables(word: str) -> int:
    count = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and count > 1
    return max(count - silent, 1)


def words_of(text: str, language: str) -> list[str]:
    """Words in lower case: units, but Chinese as jieba cuts it."""
    if language != "zh":
        return units(text)
    from lm_research.text.chinese_word import jieba_tokenizer, slices

    cut = jieba_tokenizer().cut
    return [w.lower() for part in slices(text) for w in cut(part) if units(w)]


def tag_profile(texts: Sequence[str], language: str) -> dict[str, Any] | None:
    """Share of each part of speech (UPOS) among the words of the first 200 kB; None without tagger.

    English by the tagger of denckring-en-pos, Chinese by jieba; each errs in its own way, so
    profiles compare within a language.
    """
    tagger = _tagger(language)
    if tagger is None:
        return None
    found: Counter[str] = Counter()
    size = 0
    for text in texts:
        if size >= TAGGED_BYTES:
            break
        part = text[: TAGGED_BYTES - size]
        size += len(part.encode("utf-8", "replace"))
        found.update(tag for _, tag in tagger.tag(part) if tag != NO_TAG)
    total = sum(found.values())
    shares = {tag: count / total for tag, count in found.most_common()}
    return {"pieces": total, "shares": shares}


@cache
def _tagger(language: str) -> Tagger | None:
    try:
        if language == "en":
            from lm_research.text.english_tagger import EnglishTagger

            return EnglishTagger()
        if language == "zh":
            from lm_research.text.chinese_tagger import ChineseTagger

            return ChineseTagger()
    except (ModuleNotFoundError, ValueError) as error:
        warnings.warn(f"no part-of-speech profile for {language}: {error}", stacklevel=2)
    return None
