"""From a source to a token store: what is learned from whom, what is cached, what is left out."""

import copy
import hashlib
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm_research.config.build import build
from lm_research.data.document import DataError, Document
from lm_research.data.preparation import (
    PreparedText,
    Selection,
    prepare,
    training_documents,
)
from lm_research.data.selection import LONGEST_SHARE
from lm_research.data.sources.files import LocalFiles
from lm_research.data.splits import SPLITS, Split, split_of
from lm_research.text.word_pieces import segment_words

SPLIT_OPTIONS = {"validation": 0.2, "test": 0.2, "seed": 0}
BUDGET = {"train_bytes": 10**9, "eval_bytes": 10**9}
BYTES = {"_target_": "lm_research.text.byte.ByteTokenizer"}
WORDS = {"_target_": "lm_research.text.word.WordTokenizer", "vocabulary_size": 1000}
NFKC = {"_target_": "lm_research.text.cleaning.NormalizeUnicode", "form": "NFKC"}


def text(tokenizer: dict[str, Any] = BYTES, *cleaning: dict[str, Any]) -> dict[str, Any]:
    return {"cleaning": list(cleaning), "tokenizer": tokenizer, "tagger": None}


AS_BYTES = text()


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write rows (texts, or texts with a split) and return the data node that reads them."""

    def source(rows: list[Any], name: str = "rows") -> dict[str, Any]:
        rows = [row if isinstance(row, dict) else {"text": row} for row in rows]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return {
            "_target_": "lm_research.data.sources.files.LocalFiles",
            "paths": str(file),
            "split_field": "split" if any("split" in row for row in rows) else None,
            "name": name,
            "language": "en",
            "category": "web",
            "licence": "unknown",
        }

    return source


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., PreparedText]:
    def make(data: dict[str, Any], text: dict[str, Any] = AS_BYTES, **options: Any) -> PreparedText:
        splits = {**SPLIT_OPTIONS, **options.pop("splits", {})}
        budget = {**BUDGET, **options.pop("budget", {})}
        return prepare(data, text, splits, budget, tmp_path / "cache", **options)

    return make


def held(rows: list[str], split: Split, seed: int = 0) -> list[str]:
    """The rows of a split, by the rule of `split_of`."""
    documents = (Document(row, "", "") for row in rows)
    return [d.text for d in documents if split_of(d, 0.2, 0.2, seed) == split]


def decoded(prepared: PreparedText, split: Split) -> list[str]:
    tokens = prepared.store.split(split)
    return [prepared.tokenizer.decode(tokens.document(i)) for i in range(len(tokens.documents))]


ROWS = [f"row {i} says word{i} again: word{i}" for i in range(60)]


def test_documents_go_through_whole_and_in_another_order(source, make) -> None:
    prepared = make(source(ROWS))
    for split in SPLITS:
        found = decoded(prepared, split)
        assert sorted(found) == sorted(held(ROWS, split))
        assert len(found) > 5
    assert decoded(prepared, "train") != held(ROWS, "train")  # shuffled


def test_official_splits_are_kept(source, make) -> None:
    names = {"train": "train", "dev": "validation", "test": "test"}
    rows = [{"text": f"{name} {i}", "split": name} for i in range(9) for name in names]
    prepared = make(source(rows))
    for name, split in names.items():
        assert sorted(decoded(prepared, split)) == [f"{name} {i}" for i in range(9)]


def test_a_word_of_held_out_documents_alone_is_unknown(source, make) -> None:
    prepared = make(source(ROWS), text(WORDS))
    tokenizer = prepared.tokenizer
    known = {piece for row in held(ROWS, "train") for piece in segment_words(row)}
    everything = {piece for row in ROWS for piece in segment_words(row)}
    assert tokenizer.vocabulary_size == len(known) + 2
    for piece in everything:
        (id,) = tokenizer.encode(piece).ids_N
        assert (id != tokenizer.unknown_id) == (piece in known)
    validation = prepared.store.split("validation")
    unknown = (np.asarray(validation.ids_N) == tokenizer.unknown_id).sum()
    pieces = [p for row in held(ROWS, "validation") for p in segment_words(row)]
    assert unknown == sum(p not in known for p in pieces) > 0
    assert (validation.documents["spelling_nats"] > 0).any()
    assert (prepared.store.split("train").documents["spelling_nats"] == 0).all()


def test_records_count_bytes_words_and_tokens_of_the_cleaned_text(source, make) -> None:
    # Full-width letters: nine bytes become three; "é" stays two, "世界" six.
    raw, clean = "ＡＢＣ é\t世界 {i}", "ABC é\t世界 {i}"
    rows = [raw.format(i=i) for i in range(30)]
    prepared = make(source(rows), text(BYTES, NFKC))
    assert set(decoded(prepared, "train")) <= {clean.format(i=i) for i in range(30)}
    for split in SPLITS:
        documents = prepared.store.split(split).documents
        for record, document in zip(documents, decoded(prepared, split), strict=True):
            digits = len(document.split()[-1])
            assert record["bytes"] == 3 + 1 + 2 + 1 + 6 + 1 + digits
            assert record["words"] == 4
            assert record["tokens"] == record["bytes"]
        total = prepared.store.meta["splits"][split]["bytes"]
        assert total == documents["bytes"].sum()
    (rule,) = prepared.store.meta["left_out"]["cleaning"]
    assert rule["documents_in"] == rule["documents_changed"] == 30
    assert rule["bytes_in"] - rule["bytes_out"] == 30 * 6


def test_a_lone_surrogate_counts_as_the_three_bytes_that_stand_for_it(
    source, make, monkeypatch
) -> None:
    rows = [Document(f"{i} \ud83d", "rows", f"{i}") for i in range(30)]
    monkeypatch.setattr(LocalFiles, "__iter__", lambda self: iter(rows))
    prepared = make(source(ROWS))
    for split in SPLITS:
        documents = prepared.store.split(split).documents
        assert (documents["bytes"] == documents["tokens"]).all()
        assert all(document.endswith(" \ufffd") for document in decoded(prepared, split))


BPE = {"_target_": "lm_research.text.bpe.BPETokenizer", "vocabulary_size": 300}


def text_digests(prepared: PreparedText) -> dict[str, str]:
    return {s: prepared.store.meta["splits"][s]["text_sha256"] for s in SPLITS}


def test_equal_text_has_an_equal_digest_under_every_tokenizer(source, make) -> None:
    node = source(ROWS)
    as_bytes = make(node)
    assert text_digests(make(node, text(BPE))) == text_digests(as_bytes)
    assert text_digests(make(node, text(WORDS))) == text_digests(as_bytes)
    ids = [
        make(node, t).store.meta["splits"]["validation"]["sha256"] for t in (AS_BYTES, text(BPE))
    ]
    assert ids[0] != ids[1]
    for split, digest in text_digests(as_bytes).items():
        documents = [document.encode() + b"\xff" for document in decoded(as_bytes, split)]
        assert digest == hashlib.sha256(b"".join(documents)).hexdigest()


def test_another_text_has_another_digest(source, make) -> None:
    rows = [f"Ａ row {i}" for i in range(60)]
    node = source(rows)
    first = text_digests(make(node))["validation"]
    assert text_digests(make(node, text(BYTES, NFKC)))["validation"] != first
    assert text_digests(make(node, splits={"seed": 1}))["validation"] != first
    assert text_digests(make(node, budget={"eval_bytes": 60}))["validation"] != first


def test_an_evaluation_only_store_has_the_digests_of_the_sources_own(source, make) -> None:
    node = source(ROWS)
    own, foreign = text_digests(make(node)), text_digests(make(node, trained={"tokenizer": {}}))
    assert [own[s] == foreign[s] for s in SPLITS] == [False, True, True]


def test_a_cache_hit_does_not_read_the_source(source, make, monkeypatch) -> None:
    node = source(ROWS)
    first = make(node, text(WORDS))

    def refuse(self: LocalFiles) -> Iterator[Document]:
        raise AssertionError("the source was read again")

    monkeypatch.setattr(LocalFiles, "__iter__", refuse)
    again = make(node, text(WORDS))
    assert again.store.folder == first.store.folder
    assert again.tokenizer.state_dict() == first.tokenizer.state_dict()
    assert decoded(again, "test") == decoded(first, "test")
    make(node, text(BYTES))  # another tokenizer, or other rules: the documents are kept
    make(node, text(BYTES, NFKC))
    with pytest.raises(AssertionError, match="read again"):
        make(node, splits={"seed": 1})  # another order


def changes() -> dict[str, dict[str, Any]]:
    return {
        "nothing": {},
        "cleaning": {"text": text(WORDS, NFKC)},
        "tokenizer": {"text": text({**WORDS, "vocabulary_size": 30})},
        "another tokenizer": {"text": text(BYTES)},
        "split seed": {"splits": {"seed": 1}},
        "split size": {"splits": {"validation": 0.3}},
        "training cap": {"budget": {"train_bytes": 10**8}},
        "evaluation cap": {"budget": {"eval_bytes": 10**8}},
    }


def test_what_changes_the_text_changes_the_key(source, make) -> None:
    node = source(ROWS)
    keys = {}
    for name, options in changes().items():
        keys[name] = make(node, **{"text": text(WORDS), **options}).store.folder.name
    other = source([*ROWS, "one row more"])
    keys["rows"] = make(other, text(WORDS)).store.folder.name
    node_of_another_name = {**other, "name": "another"}
    keys["name"] = make(node_of_another_name, text(WORDS)).store.folder.name
    assert len(set(keys.values())) == len(keys)


def test_what_does_not_change_the_text_keeps_the_key(source, make) -> None:
    node = source(ROWS)
    unrelated = {"train_tokens": 5, "batch_size": 3, "window": 9, "hidden_size": 8}
    assert make(node).store.folder == make(node, budget=unrelated).store.folder
    assert make(copy.deepcopy(node)).store.folder == make(node).store.folder


def test_caps_and_the_cut_of_long_documents(source, make) -> None:
    rows = [f"{i:03d}" + "é" * 200 for i in range(200)]  # 403 bytes each
    cap = 800
    prepared = make(source(rows), budget={"eval_bytes": cap, "train_bytes": 4000})
    meta = prepared.store.meta
    longest = cap // LONGEST_SHARE  # 100 bytes: three digits, and 48 whole letters
    validation = decoded(prepared, "validation")
    assert {len(document.encode()) for document in validation} == {longest - 1}
    assert {document[3:] for document in validation} == {"é" * 48}
    for split, most in (("train", 4000), ("validation", cap), ("test", cap)):
        size = meta["splits"][split]["bytes"]
        assert most <= size < most * (1 + 1 / LONGEST_SHARE)
    counts = meta["left_out"]["selection"]
    documents = {split: meta["splits"][split]["documents"] for split in SPLITS}
    assert documents == {"train": 10, "validation": 9, "test": 9}
    assert counts["cut"] == documents["validation"] + documents["test"]
    # The source is read only as far as it is needed.
    assert 0 < counts["over_cap"] < len(rows) - sum(documents.values())


def test_an_evaluation_only_store_has_the_held_out_text_of_the_sources_own(source, make) -> None:
    home, away = source(ROWS, "home"), source([f"away {i} is word{i}" for i in range(80)], "away")
    budget = {"eval_bytes": 100}
    tokenizer = make(home, text(WORDS)).tokenizer
    trained = {"tokenizer": tokenizer.state_dict()}
    own = make(away, text(BYTES), budget=budget)
    foreign = make(away, text(BYTES), budget=budget, trained={"tokenizer": {}})
    words = make(away, text(WORDS), budget=budget, trained=trained)
    assert words.tokenizer.state_dict() == tokenizer.state_dict()
    for split in ("validation", "test"):
        assert decoded(foreign, split) == decoded(own, split)
        sizes = [p.store.split(split).documents["bytes"].tolist() for p in (own, foreign, words)]
        assert sizes[0] == sizes[1] == sizes[2]
        for document, known in zip(decoded(own, split), decoded(words, split), strict=True):
            pieces = [tokenizer.decode(tokenizer.encode(p).ids_N) for p in segment_words(document)]
            assert known == "".join(pieces)
    assert len(foreign.store.split("train").documents) == 0
    again = make(away, text(WORDS), budget=budget, trained=trained)
    assert again.store.folder == words.store.folder
    assert again.tokenizer.state_dict() == tokenizer.state_dict()


DROP = {"_target_": "lm_research.text.cleaning.LengthFilter", "min_characters": 10**6}


@pytest.mark.parametrize("tokenizer", [BYTES, WORDS], ids=["bytes", "words"])
@pytest.mark.parametrize(
    ("rows", "cleaning", "says"),
    [
        pytest.param([], [], "no document in", id="empty"),
        pytest.param(ROWS, [DROP], "left out: dropped by length_filter: 60", id="all dropped"),
        pytest.param([ROWS[0]], [], "left out: nothing", id="one document"),
    ],
)
def test_too_little_text_names_the_fix(source, make, tmp_path, tokenizer, rows, cleaning, says):
    with pytest.raises(DataError, match="rows") as error:
        make(source(rows), text(tokenizer, *cleaning))
    message = str(error.value)
    assert says in message
    assert len(message.splitlines()) <= 6
    if rows:
        assert "cleaning rules" in message
    stores = tmp_path / "cache" / "tokens"
    assert not stores.exists() or list(stores.iterdir()) == []  # nothing half done stays behind


def test_a_source_without_the_official_validation_split_names_the_fix(source, make) -> None:
    rows = [{"text": f"{i}", "split": "train"} for i in range(9)]
    with pytest.raises(DataError, match=r"for the validation split[^$]*split_field=null"):
        make(source(rows))


def test_a_broken_source_leaves_no_store(source, make, monkeypatch, tmp_path) -> None:
    def broken(self: LocalFiles) -> Iterator[Document]:
        yield from (Document(row, "rows", "0") for row in ROWS)
        raise DataError("the rest of the file is missing")

    monkeypatch.setattr(LocalFiles, "__iter__", broken)
    with pytest.raises(DataError, match="the rest"):
        make(source(ROWS))
    assert list((tmp_path / "cache" / "tokens").iterdir()) == []


def test_documents_for_fitting_are_those_of_the_training_split(source, make) -> None:
    prepared = make(source(ROWS))
    found = [prepared.tokenizer.decode(ids_N) for ids_N in training_documents(prepared)]
    assert found == decoded(prepared, "train")
    assert len(list(training_documents(prepared, limit=7))) == 7


MIB = 1 << 20


def peak_memory(action: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_memory_does_not_grow_with_the_corpus(source, make, monkeypatch, size: int) -> None:
    corpus = 128 * MIB
    paragraph = "thequickbrownfoxjumpsoverthelazydog" * (size // 35)

    def documents(self: LocalFiles) -> Iterator[Document]:
        for number in range(corpus // size):
            yield Document(f"{number} {paragraph}", "rows", f"rows/{number}")

    monkeypatch.setattr(LocalFiles, "__iter__", documents)
    prepared: list[PreparedText] = []
    peak = peak_memory(lambda: prepared.append(make(source(ROWS))))
    assert sum(s["bytes"] for s in prepared[0].store.meta["splits"].values()) > 0.95 * corpus
    # The buffer of the shuffle (32 MiB), a few shards of the stages (4 MiB of text each, as text,
    # as UTF-8, packed and compressed), and one document several times over.
    assert peak < 32 * MIB + 16 * 4 * MIB + 20 * size < corpus


def near(text: str, copy: int) -> str:
    """A copy with one word of a hundred changed."""
    words = text.split()
    words[copy % len(words)] = f"edit{copy}"
    return " ".join(words)


WORD = random.Random(0)
LONG = [" ".join(f"word{WORD.randrange(9999)}" for _ in range(100)) for _ in range(60)]
COPIES = [row for i, row in enumerate(LONG) for row in (row, near(row, i), near(row, i + 31))]
DUPLICATES = {
    "_target_": "lm_research.text.duplicates.NearDuplicates",
    "against": {},
    "shingle": 3,
    "bands": 20,
    "rows": 5,
    "seed": 1,
}


def originals(prepared: PreparedText, split: Split) -> list[str]:
    """The last words, which name the original, of a split's documents."""
    return [" ".join(text.split()[-3:]) for text in decoded(prepared, split)]


def test_no_near_copy_is_in_two_splits(source, make) -> None:
    with_copies = make(source(COPIES, "copies"))
    splits = [set(originals(with_copies, split)) for split in SPLITS]
    assert splits[0] & splits[1]  # hashes of the text part near copies
    prepared = make(source(COPIES, "copies"), text(BYTES, DUPLICATES))
    found = [name for split in SPLITS for name in originals(prepared, split)]
    assert len(found) == len(set(found)) == 60
    (report,) = prepared.store.meta["left_out"]["cleaning"]
    assert report["reasons"] == {"near copy": 120}


def test_what_an_evaluation_source_has_is_not_trained_on(source, make) -> None:
    held_out = source(LONG[:20], "held_out")
    rule = {**DUPLICATES, "against": {"held_out": held_out}}
    mine = source([near(row, 5) for row in LONG], "mine")
    prepared = make(mine, text(BYTES, rule))
    assert sum(len(originals(prepared, split)) for split in SPLITS) == 40
    (report,) = prepared.store.meta["left_out"]["cleaning"]
    assert report["reasons"] == {"near copy of a text of held_out": 20}
    evaluated = make(held_out, text(BYTES, rule))
    assert sum(len(originals(evaluated, split)) for split in SPLITS) == 20


def test_the_cache_notices_when_another_source_changes(source, make) -> None:
    mine = source(LONG, "mine")
    rule = {**DUPLICATES, "against": {"held_out": source(LONG[:20], "held_out")}}
    first = make(mine, text(BYTES, rule))
    source(LONG[:30], "held_out")
    second = make(mine, text(BYTES, rule))
    sizes = [sum(len(decoded(p, split)) for split in SPLITS) for p in (first, second)]
    assert sizes == [40, 30]


def test_every_pass_drops_the_same(source) -> None:
    caps = dict.fromkeys(SPLITS, 10**9)
    node = build(source(COPIES, "copies"))
    selection = Selection(node, [DUPLICATES], {**SPLIT_OPTIONS}, caps)
    first = list(selection)
    assert len(first) == 60
    assert list(selection) == first
