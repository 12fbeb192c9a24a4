"""From a source to a token store, in the order that the chapters have.

documents -> shuffle (unless the source is ordered) -> cleaning -> split by document -> caps ->
tokenizer (trained on the training split alone) -> ids on disk. Every stage is an iterator, so the
memory that is used does not grow with the corpus; what a stage leaves out is counted and ends in
``meta.json``.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lm_research.config.build import build
from lm_research.config.places import without_places
from lm_research.data.document import DataError, Document, Source
from lm_research.data.labels import LabelColumn
from lm_research.data.mixture import store_node
from lm_research.data.patience import in_time
from lm_research.data.splits import SPLITS, Split, shuffle, split_of
from lm_research.data.token_store import FORMAT, StoreWriter, TokenStore
from lm_research.text.cleaning import Cleaner
from lm_research.text.tags import TagLexicon
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import valid_unicode
from lm_research.text.units import unit_hashes

LONGEST_SHARE = 8
"""A document longer than an eighth of its split's cap is cut there: a held-out split of one or two
documents would say nothing about a source."""


PATIENCE_S = 1800.0
"""How long a source may take for its next document; a first one may have to be downloaded."""


@dataclass
class Selection:
    """Documents of one source, cleaned, split and capped, with counts of what was left out.

    With ``labelled`` those without a label are left out, too.
    """

    source: Source
    cleaning: list[Any]
    splits: dict[str, Any]
    caps: dict[Split, int]
    patience_s: float = PATIENCE_S
    labelled: bool = False

    def begin(self) -> tuple[Iterator[Document], Cleaner]:
        """The documents of a new pass, as the source has them but in their order, and its rules."""
        self.cleaner = Cleaner(build(self.cleaning))
        self.cleaner.learn(lambda other: in_time(other, self.patience_s))
        self.counts: Counter[str] = Counter()
        documents = in_time(self.source, self.patience_s)
        ordered = documents if self.source.ordered else shuffle(documents, self.splits["seed"])
        return ordered, self.cleaner

    def __iter__(self) -> Iterator[tuple[Split, Document]]:
        documents, _ = self.begin()
        room = dict(self.caps)
        seed, validation, test = self.splits["seed"], self.splits["validation"], self.splits["test"]
        for document in documents:
            text = self.cleaner.clean(document.text, document.source)
            if not text:
                self.counts["dropped"] += 1
                continue
            # What the tokenizers would do, done first: they and the count of bytes see one text.
            document = replace(document, text=valid_unicode(text))
            if self.labelled and document.label is None:
                self.counts["without_label"] += 1
                continue
            split = split_of(document, validation, test, seed)
            if room[split] <= 0:
                self.counts["over_cap"] += 1
                if all(left <= 0 for left in room.values()):
                    return
                continue
            # What is read in its order may be one stream: it ends where the cap does.
            longest = room[split] if self.source.ordered else self.caps[split] // LONGEST_SHARE
            document = self._cut(document, longest)
            room[split] -= len(document.text.encode())
            yield split, document

    def _cut(self, document: Document, most: int) -> Document:
        data = document.text.encode()
        if len(data) <= max(most, 1):
            return document
        self.counts["cut"] += 1
        return replace(
            document, text=data[: max(most, 1)].decode("utf-8", "ignore") or document.text[:1]
        )

    def texts(self, split: Split) -> Iterator[str]:
        """Texts of one split."""
        return (document.text for where, document in self if where == split)

    def report(self) -> dict[str, Any]:
        """What the last pass left out, and why."""
        return {
            "skipped": dict(self.source.skipped),
            "cleaning": self.cleaner.report(),
            "selection": dict(self.counts),
        }

    def omissions(self) -> str:
        """The same in a few words, without what is zero."""
        dropped = {
            f"dropped by {c.name}" + (f" ({reason})" if reason else ""): count
            for c in self.cleaner.counts
            for reason, count in (c.reasons or {"": c.documents_dropped}).items()
        }
        selected = {f"documents {name}": n for name, n in self.counts.items() if name != "dropped"}
        counts = {**self.source.skipped, **dropped, **selected}
        return ", ".join(f"{name}: {n}" for name, n in counts.items() if n) or "nothing"


@dataclass(frozen=True)
class PreparedText:
    """A token store with the tokenizer (and tag lexicon) that made it."""

    store: TokenStore
    tokenizer: Tokenizer
    lexicon: TagLexicon | None


def prepare(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    budget: dict[str, Any],
    cache: str | Path,
    trained: dict[str, Any] | None = None,
    patience_s: float = PATIENCE_S,
    labelled: bool = False,
) -> PreparedText:
    """The token store of ``data`` prepared by ``text``; made now if the cache has none.

    Args:
        data, text, splits, budget: the config's groups of these names.
        cache: folder for token stores.
        trained: state of a trained tokenizer (and lexicon) to use as it is, for evaluating on a
            source with the vocabulary of another.
        patience_s: seconds that the source may take for its next document.
        labelled: keep documents with a label alone, and their labels with them (``data.labels``).

    Raises:
        DataError: the source cannot be read, or hangs, or a split has no document.
    """
    needed = SPLITS[:2] if trained is None else SPLITS[1:2]
    caps = _caps(budget, trained)
    return prepare_splits(
        data, text, splits, caps, needed, cache, trained, patience_s, labelled=labelled
    )


def prepare_splits(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    caps: dict[Split, int],
    needed: Sequence[Split],
    cache: str | Path,
    trained: dict[str, Any] | None = None,
    patience_s: float = PATIENCE_S,
    labelled: bool = False,
) -> PreparedText:
    """As :func:`prepare`, with ``caps`` in bytes and the splits that must not be empty."""
    source: Source = build(data)
    tokenizer: Tokenizer = build(text["tokenizer"])
    selection = Selection(source, text["cleaning"], splits, caps, patience_s, labelled)
    folder = _folder(cache, source, data, text, splits, caps, trained, labelled)
    if (folder / "meta.json").exists():
        store = TokenStore.open(folder)
        tokenizer.load_state_dict(store.read_json("tokenizer"))
        return PreparedText(
            store, tokenizer, restore_lexicon(text, tokenizer, store.read_json("tags"))
        )
    return _build_store(folder, selection, tokenizer, text, trained, needed)


def cached(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    budget: dict[str, Any],
    cache: str | Path,
    labelled: bool = False,
) -> TokenStore | None:
    """The token store that ``prepare`` would open, without making it; None if there is none.

    Raises:
        DataError, ModuleNotFoundError: the source cannot say what it would give.
    """
    caps = _caps(budget, None)
    folder = _folder(cache, build(data), data, text, splits, caps, None, labelled)
    return TokenStore.open(folder) if (folder / "meta.json").exists() else None


def _caps(budget: dict[str, Any], trained: dict[str, Any] | None) -> dict[Split, int]:
    return {
        "train": budget["train_bytes"] if trained is None else 0,
        "validation": budget["eval_bytes"],
        "test": budget["eval_bytes"],
    }


def _folder(
    cache: str | Path,
    source: Source,
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    caps: dict[Split, int],
    trained: dict[str, Any] | None,
    labelled: bool = False,
) -> Path:
    """Where a store lies: under the hash of everything that goes into it."""
    made_of = [FORMAT, store_node(data), source.signature(), text, splits, caps, trained]
    made_of += ["labelled"] if labelled else []
    made_of += filter(None, (rule.signature() for rule in build(text["cleaning"])))
    key = sha256(json.dumps(without_places(made_of), sort_keys=True, default=str).encode())
    return Path(cache) / "tokens" / key.hexdigest()[:20]


def restore_lexicon(text: dict[str, Any], tokenizer: Tokenizer, state: Any) -> TagLexicon | None:
    """The tag lexicon of a stored state; None where the text has no tagger."""
    if not state:
        return None
    lexicon = TagLexicon(build(text["tagger"]), tokenizer)
    lexicon.load_state_dict(state)
    return lexicon


def _build_store(
    folder: Path,
    selection: Selection,
    tokenizer: Tokenizer,
    text: dict[str, Any],
    trained: dict[str, Any] | None,
    needed: Sequence[Split],
) -> PreparedText:
    lexicon = None
    if trained is not None:
        tokenizer.load_state_dict(trained["tokenizer"])
    else:
        _train(tokenizer, selection)
        if text["tagger"]:
            lexicon = TagLexicon(build(text["tagger"]), tokenizer)
            lexicon.fit(selection.texts("train"))
    writer = StoreWriter(folder, tokenizer.vocabulary_size, tokenizer.separator_id)
    try:
        labels = LabelColumn() if selection.labelled else None
        for split, document in labels.noting(selection) if labels else selection:
            ids_N, nats = tokenizer.encode(document.text)
            data = document.text.encode()
            words, units_N = len(document.text.split()), unit_hashes(document.text)
            writer.add(split, ids_N, len(data), words, nats, data, units_N)
        _require_documents(writer, selection, needed)
        writer.write_json("tokenizer", tokenizer.state_dict())
        if lexicon is not None:
            writer.write_json("tags", lexicon.state_dict())
        classes = {"classes": labels.write(writer)} if labels else {}
        store = writer.finish({**_meta(selection, tokenizer), **classes})
    except BaseException:
        writer.discard()
        raise
    return PreparedText(store, tokenizer, lexicon)


def _train(tokenizer: Tokenizer, selection: Selection) -> None:
    if type(tokenizer).train is Tokenizer.train:
        return  # nothing to learn: spare the pass over the corpus
    try:
        tokenizer.train(selection.texts("train"))
    except ValueError as error:
        raise DataError(
            f"data={selection.source.name}: {error}\n  left out: {selection.omissions()}"
        ) from error


def _require_documents(writer: StoreWriter, selection: Selection, needed: Sequence[Split]) -> None:
    for split in needed:
        if not writer.counts[split]["documents"]:
            counts = ", ".join(f"{s} {writer.counts[s]['documents']}" for s in SPLITS)
            raise DataError(
                f"data={selection.source.name}: no document for the {split} split\n"
                f"  documents: {counts}\n"
                f"  left out: {selection.omissions()}\n"
                "  fix: splits are by document, so give more documents (for text files: "
                "data.document=paragraph),\n"
                "    a larger splits.validation, or milder cleaning rules; where a file's official "
                "splits lack one,\n"
                "    data.split_field=null splits by hash"
            )


def _meta(selection: Selection, tokenizer: Tokenizer) -> dict[str, Any]:
    source = selection.source
    asked, achieved = (getattr(source, name, None) for name in ("asked", "achieved"))
    return {
        "source": source.name,
        "language": source.language,
        "category": source.category,
        "licence": source.licence,
        "citation": source.citation,
        "signature": source.signature(),
        "vocabulary_size": tokenizer.vocabulary_size,
        "left_out": selection.report(),
        "asked": asked() if asked else None,
        "achieved": achieved() if achieved else None,
    }


def training_documents(prepared: PreparedText, limit: int = 50_000) -> Iterator[np.ndarray]:
    """Ids of the first ``limit`` training documents, for vectorizers that fit."""
    split = prepared.store.split("train")
    return (split.document(i) for i in range(min(limit, len(split.documents))))
