"""Which language a text is in, as far as its letters and commonest words tell."""

import re

from lm_research.config.types import NonNegativeInt, PositiveInt, Probability
from lm_research.text.cleaning import Rule

_SCRIPTS = {
    "Latin": "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Armenian": "\u0531-\u0587",
    "Hebrew": "\u05d0-\u05ea",
    "Arabic": "\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "Devanagari": "\u0904-\u097f",
    "Bengali": "\u0985-\u09f1",
    "Tamil": "\u0b85-\u0bb9",
    "Thai": "\u0e01-\u0e46",
    "Georgian": "\u10a0-\u10ff",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "Kana": "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Han": "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
_LETTERS = {script: re.compile(f"[{ranges}]+") for script, ranges in _SCRIPTS.items()}
_LANGUAGES = {
    "Latin": "en de fr es it pt nl sv da no fi pl cs sk hu ro hr sl tr vi id la ca et lv lt",
    "Greek": "el",
    "Cyrillic": "ru uk bg be sr mk kk",
    "Armenian": "hy",
    "Hebrew": "he yi",
    "Arabic": "ar fa ur",
    "Devanagari": "hi mr ne sa",
    "Bengali": "bn as",
    "Tamil": "ta",
    "Thai": "th",
    "Georgian": "ka",
    "Hangul": "ko",
    "Kana": "ja",
    "Han": "zh",
}
_SCRIPT_OF = {
    language: script for script, languages in _LANGUAGES.items() for language in languages.split()
}
_ENGLISH_WORD = re.compile(r"[A-Za-z]+")
ENGLISH_STOP_WORDS = frozenset(
    """the of and to a in is was that for it with as on be at by this are from or he his have not
    you they we i my your her she but an had which were has their been will would can who what
    when there if all do so no one out up them then its""".split()  # noqa: SIM905
)
_KANA_OF_JAPANESE = 0.05


class LanguageFilter(Rule):
    """Drops documents that are not in a language, by script and, for English, by stop words.

    - "en": enough of the letters are Latin, and enough of the words are among 59 of the commonest
      of English ("the", "of", "and", ...). Running English has 30 to 50 per cent of them, nearly
      all other languages in the Latin script under 15. Bare lists and tables fail as well; program
      code with English comments may pass, and so does Scots.
    - "zh": enough of the letters are Han, and fewer than one in twenty is kana. Traditional and
      simplified Chinese, Mandarin and Cantonese are one to it.
    - "ja": enough are Han or kana, and at least one in twenty is kana.
    - Any other code stands for its script alone: "de" passes French, "ru" Ukrainian.

    It judges whole documents by their beginning and knows nothing of mixed ones; a document with
    few letters is kept.

    Args:
        language: ISO 639-1 code, as "en".
        minimum_share: share of the letters that the script must have.
        minimum_stop_words: share of the words that English stop words must have; for "en" alone.
        minimum_letters: with fewer letters there is no telling, and the document is kept.
        sample_characters: how much of the beginning is looked at.
    """

    name = "language_filter"

    def __init__(
        self,
        language: str,
        minimum_share: Probability = 0.5,
        minimum_stop_words: Probability = 0.2,
        minimum_letters: NonNegativeInt = 40,
        sample_characters: PositiveInt = 20_000,
    ) -> None:
        if language not in _SCRIPT_OF:
            raise ValueError(f"language is {language!r}; known are {', '.join(sorted(_SCRIPT_OF))}")
        self.language = language
        self.minimum_share = minimum_share
        self.minimum_stop_words = minimum_stop_words
        self.minimum_letters = minimum_letters
        self.sample_characters = sample_characters

    def __call__(self, text: str) -> str | None:
        """The text, or None if it is not in the language."""
        sample = text[: self.sample_characters]
        letters = "".join(filter(str.isalpha, sample))
        if len(letters) < max(self.minimum_letters, 1):
            return text
        shares = {script: _count(script, letters) / len(letters) for script in _SCRIPTS}
        return text if self._in_script(shares) and self._in_words(sample) else None

    def _in_script(self, shares: dict[str, float]) -> bool:
        share = shares[_SCRIPT_OF[self.language]]
        if self.language == "ja":
            return share >= _KANA_OF_JAPANESE and share + shares["Han"] >= self.minimum_share
        if self.language == "zh" and shares["Kana"] >= _KANA_OF_JAPANESE:
            return False
        return share >= self.minimum_share

    def _in_words(self, sample: str) -> bool:
        if self.language != "en":
            return True
        words = _ENGLISH_WORD.findall(sample.lower())
        return sum(w in ENGLISH_STOP_WORDS for w in words) >= self.minimum_stop_words * len(words)


def _count(script: str, letters: str) -> int:
    return sum(map(len, _LETTERS[script].findall(letters)))
