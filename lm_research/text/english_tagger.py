"""English parts of speech by an averaged perceptron, trained by others on UD English-EWT."""

import gzip
import hashlib
import importlib.util
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from lm_research.text.tags import NO_TAG, Tagger
from lm_research.text.word_pieces import segment_words

_PACKAGE = "denckring_en_pos"
_MODEL_SHA256 = "4d8c07a3a9bcbef257c18999bb4ddcf501ecede229a8f9d9e62850623a6e97f7"
_START, _END = "<s>", "</s>"
_CACHE_LIMIT = 1 << 17
_CLITIC = re.compile(r"(.+?)(n't|'(?:s|re|ve|ll|d|m))", re.IGNORECASE)
_SYMBOLS_AMONG_PUNCTUATION = frozenset("%#@*")


class EnglishTagger(Tagger):
    """Averaged perceptron (Collins 2002) with the features of Honnibal (2013), left to right.

    The model is the data file of the package denckring-en-pos (Apache-2.0 and CC-BY-SA-4.0). It was
    trained without punctuation, so that punctuation and symbols are tagged by their Unicode
    category and left out of the sentences it sees. Sentences end at ".", "!", "?" or an empty line;
    a word with a clitic ("don't") has the tag of its first part.

    Args:
        model: a model file of that format; null takes the package's.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        ValueError: if the package's file is not the one expected.
    """

    def __init__(self, model: str | None = None) -> None:
        if model is None:
            path = _package_model()
            if hashlib.sha256(path.read_bytes()).hexdigest() != _MODEL_SHA256:
                raise ValueError(
                    f"{path} is not the model of denckring-en-pos 0.6.0: reinstall it with "
                    "pip install --force-reinstall denckring-en-pos==0.6.0"
                )
        else:
            path = Path(model)
        self._perceptron = Perceptron(json.loads(gzip.decompress(path.read_bytes())))

    def tag(self, text: str) -> list[tuple[str, str]]:
        """Pieces of the text as `word_pieces.segment_words` cuts them, and their UPOS tags."""
        pieces = segment_words(text)
        tags = [_tag_of_sign(piece) for piece in pieces]
        sentence: list[int] = []
        for i, piece in enumerate(pieces):
            if not tags[i]:
                sentence.append(i)
            elif _ends_sentence(piece, pieces[i + 1] if i + 1 < len(pieces) else " "):
                self._tag_sentence(pieces, sentence, tags)
                sentence = []
        self._tag_sentence(pieces, sentence, tags)
        return list(zip(pieces, tags, strict=True))

    def _tag_sentence(self, pieces: list[str], sentence: list[int], tags: list[str]) -> None:
        words: list[str] = []
        first_word: list[int] = []
        for i in sentence:
            first_word.append(len(words))
            words += _parts(pieces[i].lstrip(" "))
        labels = self._perceptron.tag(words)
        for i, first in zip(sentence, first_word, strict=True):
            tags[i] = labels[first].partition("|")[0]


class Perceptron:
    """Inference. Scores of the same feature are kept as rows over the labels, and summed.

    Args:
        model: ``classes``, labels as "VERB|Fin"; ``tagdict``, words with one label always;
            ``weights``, feature -> label -> weight.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        # In descending order argmax resolves a tie as the model's trainer did: the greatest label.
        self.labels = sorted(model["classes"], reverse=True)
        self._certain: dict[str, str] = model["tagdict"]
        self._weights: dict[str, dict[str, float]] = model["weights"]
        self._index_of = {label: i for i, label in enumerate(self.labels)}
        self._rows: dict[Any, np.ndarray] = {}

    def tag(self, words: list[str]) -> list[str]:
        """Labels of one sentence's words."""
        lower = [_START, _START, *(word.lower() for word in words), _END, _END]
        labels: list[str] = []
        previous, second = _START, _START
        for i, word in enumerate(words):
            label = self._certain.get(lower[i + 2])
            if label is None:
                scores = self._in_context(word, lower[i : i + 5], previous, second)
                label = self.labels[int(scores.argmax())]
            labels.append(label)
            previous, second = label, previous
        return labels

    def _in_context(self, word: str, around: list[str], previous: str, second: str) -> np.ndarray:
        before_2, before_1, lower, after_1, after_2 = around
        return (
            self._word(word)
            + self._sum(f"w-1 {before_1}")
            + self._sum(f"w-2 {before_2}")
            + self._sum(f"w+1 {after_1}")
            + self._sum(f"w+2 {after_2}")
            + self._labels_before(previous, second)
            + self._sum(f"t-1 w {previous} {lower}")
        )

    def _word(self, word: str) -> np.ndarray:
        row = self._rows.get(word)
        if row is None:
            lower = word.lower()
            shape = ("X" if word[0].isupper() else "x") + "d" * any(map(str.isdigit, word))
            row = self._keep(
                word,
                self._sum(
                    "bias",
                    f"suf3 {lower[-3:]}",
                    f"suf2 {lower[-2:]}",
                    f"suf1 {lower[-1:]}",
                    f"pre1 {lower[:1]}",
                    f"shape {shape}",
                    f"w {lower}",
                ),
            )
        return row

    def _labels_before(self, previous: str, second: str) -> np.ndarray:
        row = self._rows.get((previous, second))
        if row is None:
            features = f"t-1 {previous}", f"t-2 {second}", f"t-1t-2 {previous} {second}"
            row = self._keep((previous, second), self._sum(*features))
        return row

    def _sum(self, *features: str) -> np.ndarray:
        row = self._rows.get(features)
        if row is None:
            row = np.zeros(len(self.labels))
            for feature in features:
                for label, weight in self._weights.get(feature, {}).items():
                    row[self._index_of[label]] += weight
            self._keep(features, row)
        return row

    def _keep(self, key: Any, row: np.ndarray) -> np.ndarray:
        if len(self._rows) >= _CACHE_LIMIT:
            self._rows.clear()
        self._rows[key] = row
        return row


def _package_model() -> Path:
    """The package's data file, found without importing the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "EnglishTagger needs the tagging model of denckring-en-pos, which is not installed: "
            "pip install 'lm-research[corpora]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "tagger.json.gz"


def _tag_of_sign(piece: str) -> str:
    """The tag of white space, punctuation or a symbol; "" for what the perceptron is to tag."""
    sign = piece.strip()
    if not sign:
        return NO_TAG
    category = unicodedata.category(sign[0])
    if category[0] == "S" or sign[0] in _SYMBOLS_AMONG_PUNCTUATION:
        return "SYM"
    if sign == "&":
        return "CCONJ"
    return "PUNCT" if category[0] == "P" else NO_TAG if category[0] in "CZM" else ""


def _ends_sentence(piece: str, following: str) -> bool:
    if not piece.strip():
        return piece.count("\n") > 1
    return piece[-1] in ".!?…" and following[0].isspace()


def _parts(word: str) -> list[str]:
    """A word as UD English cuts it: "do" and "n't", "can" and "not"."""
    word = word.replace("’", "'")
    if word.lower() == "cannot":
        return [word[:3], word[3:]]
    match = _CLITIC.fullmatch(word)
    return [match[1], match[2]] if match else [word]
