"""From a source to a token store, in the order that the chapters have.

documents -> shuffle (unless the source is ordered) -> cleaning -> split by document -> caps ->
tokenizer (trained on the training split alone) -> ids on disk. Documents, cleaned documents and
ids are stages that the cache keeps (``data.stages``); the memory that is used does not grow with
the corpus; what a stage leaves out is counted and ends in ``meta.json``.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm_research.config.build import build
from lm_research.data.document import DataError, Source
from lm_research.data.labels import LabelColumn
from lm_research.data.mixture import store_node
from lm_research.data.pairs import TargetColumn, Vocabulary, require_pairs, target_of
from lm_research.data.selection import PATIENCE_S, Labelled, Selection, key_of
from lm_research.data.splits import SPLITS, Split
from lm_research.data.stages.encoded import EncodedStage, blocks
from lm_research.data.stages.shards import Shards
from lm_research.data.stages.workers import default_workers
from lm_research.data.tagged_words import TagColumn, require_tags, tagged_sentences
from lm_research.data.token_store import FORMAT, StoreWriter, TokenStore
from lm_research.text.tags import TagLexicon
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import utf8_length

_log = logging.getLogger(__name__)
Tell = Callable[[str, int], None]
"""Told what is being made ("vocabulary", "tags", "ids"), and of how many more bytes of text."""


def silent(what: str, utf8_bytes: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PreparedText:
    """A token store with the tokenizer (and tag lexicon) that made it.

    ``target_tokenizer`` is that of the targets, where they have a vocabulary of their own.
    """

    store: TokenStore
    tokenizer: Tokenizer
    lexicon: TagLexicon | None
    target_tokenizer: Tokenizer | None = None


def prepare(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    budget: dict[str, Any],
    cache: str | Path,
    trained: dict[str, Any] | None = None,
    patience_s: float = PATIENCE_S,
    workers: int | None = None,
    tell: Tell = silent,
    labelled: Labelled = "no",
    pairs: Vocabulary | None = None,
    tagged: bool = False,
    whole: bool = False,
) -> PreparedText:
    """The token store of ``data`` prepared by ``text``; made now if the cache has none.

    Args:
        data, text, splits, budget: the config's groups of these names.
        cache: folder for token stores.
        trained: state of a trained tokenizer (and lexicon) to use as it is, for evaluating on a
            source with the vocabulary of another.
        patience_s: seconds that the source may take for its next document.
        workers: processes that clean and encode; None: one a processor for large texts.
        tell: for a progress bar.
        labelled: ``one``, ``several``: keep labelled documents alone, and their labels with them
            (``data.labels``).
        pairs: keep documents with a target alone, and their targets with them (``data.pairs``).
        tagged: keep sentences of tagged words alone, and their tags (``data.tagged_words``).
        whole: the training split, too, for training with the vocabulary of ``trained``; where the
            targets have one of their own which ``trained`` lacks, it is learned.

    Raises:
        DataError: the source cannot be read, or hangs, or a split has no document.
    """
    training = whole or trained is None
    needed = SPLITS[:2] if training else SPLITS[1:2]
    caps = _caps(budget, training)
    how = patience_s, workers, tell, labelled, pairs, tagged
    return prepare_splits(data, text, splits, caps, needed, cache, trained, *how)


def prepare_splits(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    caps: dict[Split, int],
    needed: Sequence[Split],
    cache: str | Path,
    trained: dict[str, Any] | None = None,
    patience_s: float = PATIENCE_S,
    workers: int | None = None,
    tell: Tell = silent,
    labelled: Labelled = "no",
    pairs: Vocabulary | None = None,
    tagged: bool = False,
) -> PreparedText:
    """As :func:`prepare`, with ``caps`` in bytes and the splits that must not be empty."""
    source: Source = build(data)
    tokenizer: Tokenizer = build(text["tokenizer"])
    targets: Tokenizer | None = build(text["tokenizer"]) if pairs == "separate" else None
    folder = _folder(cache, source, data, text, splits, caps, trained, labelled, pairs, tagged)
    if store := _whole(folder):
        tokenizer.load_state_dict(store.read_json("tokenizer"))
        if targets is not None:
            targets.load_state_dict(store.read_json("target_tokenizer"))
        lexicon = restore_lexicon(text, tokenizer, store.read_json("tags"))
        return PreparedText(store, tokenizer, lexicon, targets)
    node, stages = store_node(data), Path(cache) / "stages"
    workers = workers or default_workers(sum(caps.values()))
    how = patience_s, node, stages, workers, labelled, pairs is not None, tagged
    selection = Selection(source, text["cleaning"], splits, caps, *how)
    _require_all(selection)
    lexicon = _learn(tokenizer, targets, selection, text, trained, tell)
    shards = Shards(stages / "encoded" / folder.name, compressed=False)
    stage = EncodedStage(shards, tokenizer, workers)
    store = _written(folder, selection, stage, targets, lexicon, needed, tell)
    return PreparedText(store, tokenizer, lexicon, targets)


def _require_all(selection: Selection) -> None:
    """Refuse a source that has nothing of what the task learns."""
    if selection.paired:
        require_pairs(selection.source.name, selection)
    if selection.tagged:
        require_tags(selection.source.name, selection)


def _whole(folder: Path) -> TokenStore | None:
    """The store, if it is there and its content is what was written."""
    if not (folder / "meta.json").exists():
        return None
    store = TokenStore.open(folder)
    if not (damaged := store.damaged()):
        return store
    _log.warning("%s: %s damaged; the store is made again", folder, ", ".join(damaged))
    shutil.rmtree(folder, ignore_errors=True)
    return None


def cached(
    data: dict[str, Any],
    text: dict[str, Any],
    splits: dict[str, Any],
    budget: dict[str, Any],
    cache: str | Path,
    labelled: Labelled = "no",
    pairs: Vocabulary | None = None,
) -> TokenStore | None:
    """The token store that ``prepare`` would open, without making it; None if there is none.

    Raises:
        DataError, ModuleNotFoundError: the source cannot say what it would give.
    """
    caps = _caps(budget, training=True)
    folder = _folder(cache, build(data), data, text, splits, caps, None, labelled, pairs)
    return TokenStore.open(folder) if (folder / "meta.json").exists() else None


def _caps(budget: dict[str, Any], training: bool) -> dict[Split, int]:
    return {
        "train": budget["train_bytes"] if training else 0,
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
    labelled: Labelled = "no",
    pairs: Vocabulary | None = None,
    tagged: bool = False,
) -> Path:
    """Where a store lies: under the hash of everything that goes into it."""
    made_of = [FORMAT, store_node(data), source.signature(), text, splits, caps, trained]
    made_of += {"no": [], "one": ["labelled"], "several": ["several labels"]}[labelled]
    made_of += [f"pairs, {pairs} vocabulary"] if pairs else []
    made_of += ["tagged words"] if tagged else []
    made_of += filter(None, (rule.signature() for rule in build(text["cleaning"])))
    return Path(cache) / "tokens" / key_of(made_of)


def restore_lexicon(text: dict[str, Any], tokenizer: Tokenizer, state: Any) -> TagLexicon | None:
    """The tag lexicon of a stored state; None where the text has no tagger."""
    if not state:
        return None
    lexicon = TagLexicon(build(text["tagger"]), tokenizer)
    lexicon.load_state_dict(state)
    return lexicon


def _learn(
    tokenizer: Tokenizer,
    targets: Tokenizer | None,
    selection: Selection,
    text: dict[str, Any],
    trained: dict[str, Any] | None,
    tell: Tell,
) -> TagLexicon | None:
    """Train the tokenizers, and the tag lexicon where the text has one, or take what is trained."""
    if trained is not None:
        tokenizer.load_state_dict(trained["tokenizer"])
        if targets is not None and "target_tokenizer" in trained:
            targets.load_state_dict(trained["target_tokenizer"])
        elif targets is not None:
            _train(targets, selection, _targets(selection), tell)
        return restore_lexicon(text, tokenizer, trained.get("lexicon"))
    if targets is not None:
        _train(targets, selection, _targets(selection), tell)
    texts = _both(selection) if selection.paired and targets is None else selection.texts("train")
    _train(tokenizer, selection, _pieces(selection) if selection.tagged else texts, tell)
    if not text["tagger"]:
        return None
    lexicon = TagLexicon(build(text["tagger"]), tokenizer)
    lexicon.fit(_told("tags", selection.texts("train"), tell))
    return lexicon


def _written(
    folder: Path,
    selection: Selection,
    stage: EncodedStage,
    targets: Tokenizer | None,
    lexicon: TagLexicon | None,
    needed: Sequence[Split],
    tell: Tell,
) -> TokenStore:
    tokenizer = stage.tokenizer
    writer = StoreWriter(folder, tokenizer.vocabulary_size, tokenizer.separator_id)
    try:
        several = selection.labelled == "several"
        labels = LabelColumn(several) if selection.labelled != "no" else None
        pairs = _column(writer, tokenizer, targets) if selection.paired else None
        tags = TagColumn(writer, tokenizer) if selection.tagged else None
        column = labels or pairs
        documents = column.noting(selection) if column else selection
        texts = ((split, document.text) for split, document in documents)
        for block, encoded in stage(blocks(texts)) if tags is None else ():
            writer.add_block(encoded, block.texts)
            tell("ids", int(encoded.bytes_D.sum()))
        if tags is not None:
            _add_sentences(tags, selection, tell)
        _require_documents(writer, selection, needed)
        writer.write_json("tokenizer", tokenizer.state_dict())
        if lexicon is not None:
            writer.write_json("tags", lexicon.state_dict())
        more: dict[str, Any] = labels.write(writer) if labels else {}
        more |= {"pairs": pairs.write()} if pairs else {}
        more |= tags.write() if tags else {}
        store = writer.finish({**_meta(selection, tokenizer), **more})
    except BaseException as error:
        writer.discard()
        if isinstance(error, Exception):  # of one that was stopped, what is done is gone on with
            stage.shards.remove()
        raise
    stage.shards.remove()
    return store


def _told(what: str, texts: Iterator[str], tell: Tell) -> Iterator[str]:
    for text in texts:
        tell(what, utf8_length(text))
        yield text


def _add_sentences(tags: TagColumn, selection: Selection, tell: Tell) -> None:
    for split, sentence in tagged_sentences(selection):
        size = tags.add(split, sentence)
        if not size:
            selection.counts["word_without_token"] += 1
        tell("ids", size)


def _column(writer: StoreWriter, sources: Tokenizer, targets: Tokenizer | None) -> TargetColumn:
    if targets is None:
        return TargetColumn(writer, sources, "shared")
    return TargetColumn(writer, targets, "separate")


def _targets(selection: Selection) -> Iterator[str]:
    return (target_of(document) for split, document in selection if split == "train")


def _both(selection: Selection) -> Iterator[str]:
    """Source and target of each training pair."""
    for split, document in selection:
        if split == "train":
            yield document.text
            yield target_of(document)


def _pieces(selection: Selection) -> Iterator[str]:
    """Words of the training sentences, each with the white space before it, as they are encoded."""
    for split, sentence in tagged_sentences(selection):
        if split == "train":
            yield from sentence.pieces


def _train(tokenizer: Tokenizer, selection: Selection, texts: Iterator[str], tell: Tell) -> None:
    if type(tokenizer).train is Tokenizer.train:
        return  # nothing to learn: spare the pass over the corpus
    try:
        tokenizer.train(_told("vocabulary", texts, tell))
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
    asked = getattr(source, "asked", None)
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
        "achieved": selection.achieved(),
    }


def training_documents(prepared: PreparedText, limit: int = 50_000) -> Iterator[np.ndarray]:
    """Ids of the first ``limit`` training documents, for vectorizers that fit."""
    split = prepared.store.split("train")
    return (split.document(i) for i in range(min(limit, len(split.documents))))
