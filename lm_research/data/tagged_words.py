"""Tags of words beside a token store: what task=tagging learns to predict.

A store of tagged words (``Selection.tagged``) has a document for each sentence, and holds, beside
what every store holds::

    {split}.words.bin         one WORD record a word, sentence after sentence
    {split}.word_counts.bin   int64, how many words each sentence has
    forms.json                the different words of all splits
    ids.json                  names of the held-out sentences, in the order of the stream

and in its ``meta.json`` the tags of all splits, sorted, as ``classes``, and under ``tagging``
counts and digests. Sentences are the lines of a document.

Shapes: D sentences of a split, N tokens, W words.
"""

import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from lm_research.config.build import build
from lm_research.data.document import DataError, Document
from lm_research.data.labels import classes_of
from lm_research.data.selection import Selection
from lm_research.data.splits import SPLITS, Split
from lm_research.data.token_store import StoreWriter, TokenStore
from lm_research.text.tagged_words import aligned, cleaning_of, encoded, sentences
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import utf8_length
from lm_research.text.units import unit_hashes

WORD = np.dtype([("form", np.int32), ("tag", np.int32), ("tokens", np.int32)])
"""Places of the word in ``forms.json`` and of its tag in the classes; its tokens."""
SOURCES = "ud_english_ewt, ud_chinese_gsdsimp, conll2000, brown"


class TaggedSentence(NamedTuple):
    """A sentence as pieces, each a word and the white space before it, with a tag for each."""

    id: str
    pieces: Sequence[str]
    tags: Sequence[str]

    @property
    def forms(self) -> list[str]:
        """The words."""
        return [piece.lstrip() for piece in self.pieces]


def tagged_sentences(selection: Selection) -> Iterator[tuple[Split, TaggedSentence]]:
    """Sentences of the documents; one whose words are not those of its text is counted."""
    changed = cleaning_of(build(selection.cleaning))
    for split, document in selection:
        pieces = aligned(document.text, document.words or (), changed)
        if pieces is None:
            selection.counts["words_not_in_text"] += 1
            continue
        for sentence in _sentences(document, pieces):
            yield split, sentence


def _sentences(document: Document, pieces: Sequence[str]) -> Iterator[TaggedSentence]:
    groups, tags, start = sentences(pieces), document.tags or (), 0
    for number, group in enumerate(groups, start=1):
        stop = start + len(group)
        name = document.id if len(groups) == 1 else f"{document.id}#{number}"
        yield TaggedSentence(name, group, tags[start:stop])
        start = stop


def require_tags(source: str, selection: Selection) -> None:
    """Refuse a source none of whose words has a tag, before anything is learned of it.

    Raises:
        DataError: with sources that have some.
    """
    if next(tagged_sentences(selection), None) is None:
        raise DataError(
            f"data={source}: no document has words with tags\n"
            f"  left out: {selection.omissions()}\n"
            f"  fix: a tagged source ({SOURCES}), and cleaning rules that leave its words whole"
        )


class TagColumn:
    """Writes sentences into a store, and notes their words and tags.

    Args:
        writer: of the store.
        tokenizer: trained.
    """

    def __init__(self, writer: StoreWriter, tokenizer: Tokenizer) -> None:
        self.writer, self.tokenizer = writer, tokenizer
        self.forms: dict[str, int] = {}
        self.tags: dict[str, int] = {}
        self.records: dict[Split, list[np.ndarray]] = {split: [] for split in SPLITS}
        self.ids: dict[Split, list[str]] = {split: [] for split in SPLITS[1:]}
        self.digest = sha256()

    def add(self, split: Split, sentence: TaggedSentence) -> int:
        """One sentence; returns the bytes of its text, or 0 if a word of it has no token."""
        found = encoded(self.tokenizer, sentence.pieces)
        if found is None:
            return 0
        text = "".join(sentence.pieces)
        size, words = utf8_length(text), len(text.split())
        units_N, data = unit_hashes(text), text.encode("utf-8", "replace")
        self.writer.add(split, found.ids_N, size, words, found.spelling_nats, data, units_N)
        records = np.empty(len(sentence.pieces), WORD)
        records["form"] = [self.forms.setdefault(f, len(self.forms)) for f in sentence.forms]
        records["tag"] = [self.tags.setdefault(tag, len(self.tags)) for tag in sentence.tags]
        records["tokens"] = np.diff(found.ends_W, prepend=0)
        self.records[split].append(records)
        self.digest.update("\n".join([*sentence.tags, ""]).encode() + b"\n")
        if split in self.ids:
            self.ids[split].append(sentence.id)
        return size

    def write(self) -> dict[str, Any]:
        """Put the columns into the store; returns what ``meta.json`` says of them.

        Raises:
            DataError: there are fewer than two different tags.
        """
        classes = sorted(self.tags)
        if len(classes) < 2:
            raise DataError(
                f"task=tagging: the words have {len(classes)} different tags "
                f"({', '.join(classes)}), and two are needed\n"
                "  fix: another data.tag_column, or a larger budget.train_bytes"
            )
        place_of_code = np.array([classes.index(tag) for tag in self.tags], np.int32)
        crc, words = {}, {}
        for split, sentences_D in self.records.items():
            records = np.concatenate([np.empty(0, WORD), *sentences_D])
            records["tag"] = place_of_code[records["tag"]]
            words[split] = len(records)
            counts_D = np.array([len(one) for one in sentences_D], np.int64)
            for kind, values in (("words", records), ("word_counts", counts_D)):
                name = f"{split}.{kind}.bin"
                (self.writer.folder / name).write_bytes(values.tobytes())
                crc[name] = zlib.crc32(values.tobytes())
        self.writer.write_json("forms", list(self.forms))
        self.writer.write_json("ids", self.ids)
        tagging = {"words": words, "sha256": self.digest.hexdigest(), "crc32": crc}
        return {"classes": classes, "tagging": tagging}


class Sentence(NamedTuple):
    """``ids_N`` (int64); of each word where its tokens end, and the place of its tag (int64).

    A tag of -1 is none of a model's.
    """

    ids_N: np.ndarray
    ends_W: np.ndarray
    tags_W: np.ndarray


class TaggedSplit:
    """Sentences of a split, with a tag for each word.

    Args:
        store: of tagged words.
        name: of the split.
        classes: tags, in the order of a model's outputs; a word of another tag has -1.

    Attributes:
        split: the token split.
        names: the store's own tags.
        words_W: WORD records of all sentences; ``tag`` is a place in ``names``.
        tags_W: int64, places in ``classes``, or -1.
        counts_D, starts_D: int64, words of each sentence, and where its first one is.
        lengths_D: int64, its tokens.

    Raises:
        DataError: the store knows no tags, or is damaged.
    """

    def __init__(self, store: TokenStore, name: Split, classes: Sequence[str]) -> None:
        if not store.meta.get("tagging"):
            raise DataError(f"{store.meta['source']}: prepared without tags of words")
        self.store, self.split, self.classes = store, store.split(name), list(classes)
        self.names = classes_of(store)
        known = {tag: place for place, tag in enumerate(classes)}
        translated = np.array([known.get(tag, -1) for tag in self.names], np.int64)
        self.words_W = np.frombuffer((store.folder / f"{name}.words.bin").read_bytes(), WORD)
        file = store.folder / f"{name}.word_counts.bin"
        self.counts_D = np.frombuffer(file.read_bytes(), np.int64)
        self.lengths_D = np.asarray(self.split.documents["tokens"])
        whole = len(self.counts_D) == len(self.lengths_D)
        if not whole or self.counts_D.sum() != len(self.words_W):
            raise DataError(f"{file}: damaged; remove {store.folder}, and it is made again")
        self.starts_D = np.cumsum(self.counts_D) - self.counts_D
        self.tags_W = translated[self.words_W["tag"]]

    def __len__(self) -> int:
        return len(self.counts_D)

    def sentence(self, index: int) -> Sentence:
        """One sentence."""
        words = self._words(index)
        ends_W = np.cumsum(self.words_W["tokens"][words], dtype=np.int64)
        return Sentence(self.split.document(index), ends_W, self.tags_W[words])

    def forms(self, index: int) -> list[str]:
        """Its words."""
        return [self.all_forms[place] for place in self.words_W["form"][self._words(index)]]

    def own_tags(self, index: int) -> list[str]:
        """Its tags, whether a model knows them or not."""
        return [self.names[place] for place in self.words_W["tag"][self._words(index)]]

    def _words(self, index: int) -> slice:
        start = int(self.starts_D[index])
        return slice(start, start + int(self.counts_D[index]))

    @cached_property
    def all_forms(self) -> list[str]:
        """The different words of the store."""
        forms: list[str] = self.store.read_json("forms")
        return forms

    def ids(self) -> list[str]:
        """Names of the sentences of a held-out split."""
        names: list[str] = self.store.read_json("ids")[self.split.name]
        return names

    def tag_counts(self) -> list[int]:
        """Words of each class."""
        known_W = self.tags_W[self.tags_W >= 0]
        return np.bincount(known_W, minlength=len(self.classes)).tolist()
