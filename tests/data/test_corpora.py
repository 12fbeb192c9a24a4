"""The public corpora themselves, where they are: counts against those that were published.

They are read where LM_RESEARCH_DOWNLOADS names a folder that has them; nothing is downloaded here.
"""

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lm_research.config.build import build
from lm_research.data.document import Document, Source
from lm_research.data.downloads import Downloads, RemoteFile
from lm_research.data.preparation import prepare
from lm_research.data.sources.downloaded import LEAKED
from lm_research.text.tagged_words import aligned

CONF = Path(__file__).parents[2] / "conf" / "data"
FOLDER = os.environ.get("LM_RESEARCH_DOWNLOADS", "")
NAMES = sorted(p.stem for p in CONF.glob("*.yaml") if "${downloads}" in p.read_text())
T, V, S = "train", "validation", "test"


def node(name: str, **changes: Any) -> dict[str, Any]:
    given = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return {**given, "downloads": FOLDER, **changes}


@cache
def read(name: str, changes: str = "{}") -> tuple[Source, list[Document]]:
    """The documents, or a skipped test where a file is not here."""
    if not FOLDER:
        pytest.skip("LM_RESEARCH_DOWNLOADS names no folder of corpora")
    source = build(node(name, **json.loads(changes)))
    for file in source.files:
        if source.downloads.find(file) is None:
            pytest.skip(f"{file.name} is not in LM_RESEARCH_DOWNLOADS")
    return source, list(source)


def counts(documents: list[Document]) -> dict[str | None, int]:
    return dict(Counter(document.split for document in documents))


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("ptb", {T: 42_068, V: 3_370, S: 3_761}),
        ("wikitext_2", {T: 36_718, V: 3_760, S: 4_358}),
        ("wikitext_103", {T: 1_801_350, V: 3_760, S: 4_358}),
        ("wikitext_103_raw", {T: 1_801_350, V: 3_760, S: 4_358}),
        ("text8", {T: 1, V: 1, S: 1}),
        ("enwik8", {T: 1, V: 1, S: 1}),
        ("tiny_shakespeare", {T: 1, V: 1}),
        ("war_and_peace", {T: 1, V: 1, S: 1}),
        ("multi30k_en_de", {T: 29_000, V: 1_014, S: 1_000}),
        ("multi30k_de_en", {T: 29_000, V: 1_014, S: 1_000}),
        ("multi30k_en_fr", {T: 29_000, V: 1_014, S: 1_000}),
        ("ag_news", {T: 120_000, S: 7_600}),
        ("ag_news_dev", {T: 10_001 - 10, S: 7_600}),
        ("imdb", {T: 25_000, S: 25_000}),
        ("sst2", {T: 6_920, V: 872, S: 1_821}),
        ("mr", {None: 10_662}),
        ("trec", {T: 5_452, S: 500}),
        ("tnews", {T: 53_360 - 2_210, V: 10_000}),
        ("chnsenticorp", {T: 9_600 - 687, V: 1_200, S: 1_200}),
        ("dialogsum", {T: 12_460, V: 500, S: 500}),
        ("scitldr", {T: 1_992, V: 619, S: 618}),
        ("tatoeba_en_zh", {None: 23_444}),
        ("tatoeba_zh_en", {None: 23_444}),
        ("tweeteval_sentiment", {T: 45_615, V: 2_000, S: 12_284}),
        ("tweeteval_emotion", {T: 3_257, V: 374, S: 1_421}),
        ("tweeteval_irony", {T: 2_862, V: 955, S: 784}),
        ("ud_english_ewt", {T: 540, V: 318, S: 316}),
        ("ud_chinese_gsdsimp", {T: 3_997, V: 500, S: 500}),
        ("conll2000", {T: 8_936, S: 2_012}),
        ("brown", {None: 500}),
        ("movie_reviews", {None: 2_000}),
        ("inaugural", {None: 58}),  # of 59: one address is in another encoding
    ],
)
def test_documents_of_each_split(name: str, splits: dict[str | None, int]) -> None:
    official = {"validation_share": 0.0} if "validation_share" in node(name) else {}
    assert counts(read(name, json.dumps(official))[1]) == splits


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("ag_news", {S: 7_600}),
        ("csl_title", {V: 1_000, S: 1_000}),
        ("dialogsum", {V: 500, S: 500}),
        ("tweeteval_sentiment", {V: 2_000, S: 12_284}),
        ("ud_chinese_gsdsimp", {V: 500, S: 500}),
    ],
)
def test_held_out_splits_alone(name: str, splits: dict[str | None, int]) -> None:
    assert counts(read(name, json.dumps({"only": list(splits)}))[1]) == splits


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_text_with_unique_ids(name: str) -> None:
    source, documents = read(name)
    assert len({document.id for document in documents}) == len(documents)
    assert all(document.source == name and document.text for document in documents)
    assert build(node(name)).signature() == source.signature()


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("ptb", {T: 929_589, V: 73_760, S: 82_430}),  # Mikolov (2012)
        ("wikitext_2", {T: 2_088_628, V: 217_646, S: 245_569}),  # Merity et al. (2016)
    ],
)
def test_words_and_line_ends_are_the_published_tokens(name: str, tokens: dict[str, int]) -> None:
    found: Counter[str | None] = Counter()
    for document in read(name)[1]:
        found[document.split] += len(document.text.split()) + 1
    assert found == tokens


def test_characters_of_the_penn_treebank_are_those_of_published_models() -> None:
    test = [d.text for d in read("ptb")[1] if d.split == S]
    assert sum(len(text) + 1 for text in test) == 442_423  # Mikolov, Merity: one space, one newline


def test_the_penn_treebank_lies_on_disk_in_its_order(tmp_path: Path) -> None:
    source, _ = read("ptb")
    text = {
        "cleaning": [],
        "tokenizer": {"_target_": "lm_research.text.byte.ByteTokenizer"},
        "tagger": None,
    }
    budget = {"train_bytes": 10_000, "eval_bytes": 10**9}
    splits = {"validation": 0.1, "test": 0.1, "seed": 0}
    prepared = prepare(node("ptb"), text, splits, budget, tmp_path)
    for split, name in (("validation", "valid"), ("test", "test")):
        ids_N = np.asarray(prepared.store.split(split).ids_N, dtype=np.int64)  # type: ignore[arg-type]
        original = (source.downloads.folder / f"ptb/ptb.{name}.txt").read_text()  # type: ignore[attr-defined]
        lines = [line.strip() for line in original.splitlines()]
        assert prepared.tokenizer.decode(ids_N) == "\n" + "".join(f"{line}\n" for line in lines)


def test_wikitext_keeps_every_byte_of_its_lines() -> None:
    source, documents = read("wikitext_2")
    for file in source.files:  # type: ignore[attr-defined]
        with source.downloads.open(file) as content:  # type: ignore[attr-defined]
            original = content.read()
        texts = [d.text for d in documents if d.split == file.split]
        assert "".join(f"{text}\n" for text in texts).encode() == original


def test_streams_are_the_files() -> None:
    shakespeare = "".join(d.text for d in read("tiny_shakespeare")[1])
    assert len(shakespeare) == 1_115_394
    assert len(set(shakespeare)) == 65
    first, second = read("tiny_shakespeare")[1]
    assert (len(first.text), len(second.text)) == (1_003_854, 111_540)  # nanoGPT's char data


@pytest.mark.parametrize(("name", "leaked"), [("chnsenticorp", 687), ("tnews", 2_210)])
def test_leaks_between_official_splits(name: str, leaked: int) -> None:
    source, mended = read(name)
    assert source.skipped[LEAKED] == leaked
    held = {" ".join(d.text.split()) for d in mended if d.split != T}
    assert not held & {" ".join(d.text.split()) for d in mended if d.split == T}
    whole = read(name, '{"leaks": "keep"}')[1]
    inside = [d for d in whole if d.split == T and " ".join(d.text.split()) in held]
    assert len(inside) == leaked
    assert len(whole) == len(mended) + leaked


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("sst2", {"positive": 3_610 + 444 + 909, "negative": 3_310 + 428 + 912}),
        ("mr", {"positive": 5_331, "negative": 5_331}),
        ("movie_reviews", {"pos": 1_000, "neg": 1_000}),
        (
            "trec",
            {"ENTY": 1_344, "DESC": 1_300, "HUM": 1_288, "NUM": 1_009, "LOC": 916, "ABBR": 95},
        ),
    ],
)
def test_labels(name: str, labels: dict[str, int]) -> None:
    assert Counter(document.label for document in read(name)[1]) == labels


def test_topics_of_the_news() -> None:
    documents = read("ag_news", '{"only": ["test"]}')[1]
    assert Counter(d.label for d in documents) == dict.fromkeys(
        ("World", "Sports", "Business", "Sci/Tech"), 1_900
    )
    assert len({d.label for d in read("tnews")[1]}) == 15
    assert len({d.label for d in read("brown")[1]}) == 15


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("conll2000", {"validation_share": 0.0}, {T: 211_727, S: 47_377}),
        # This release's dev file has two words fewer than the 25,149 of earlier ones.
        ("ud_english_ewt", {"document": "sentence"}, {T: 204_577, V: 25_147, S: 25_094}),
        ("brown", {}, {None: 1_161_192}),
    ],
)
def test_tagged_words(name: str, changes: dict[str, Any], words: dict[str | None, int]) -> None:
    documents = read(name, json.dumps(changes))[1]
    found: Counter[str | None] = Counter()
    for document in documents:
        assert document.words is not None
        assert document.tags is not None
        assert len(document.words) == len(document.tags)
        found[document.split] += len(document.words)
    assert found == words


def test_sentences_of_the_english_web_treebank() -> None:
    assert counts(read("ud_english_ewt", '{"document": "sentence"}')[1]) == {
        T: 12_544,
        V: 2_001,
        S: 2_077,
    }
    tags = {tag for d in read("ud_english_ewt")[1] for tag in d.tags or ()}
    assert len(tags) == 17  # the universal parts of speech


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ud_english_ewt", {}),
        ("ud_chinese_gsdsimp", {"only": [V, S]}),
        ("conll2000", {}),
        ("brown", {}),
    ],
)
def test_every_tagged_word_is_in_its_text(name: str, changes: dict[str, Any]) -> None:
    for document in read(name, json.dumps(changes))[1]:
        pieces = aligned(document.text, document.words or ())
        assert pieces is not None, document.id
        assert len(pieces) == len(document.tags or ())


@pytest.mark.parametrize("name", ["multi30k_en_de", "tatoeba_en_zh", "scitldr"])
def test_every_document_has_its_target(name: str) -> None:
    assert all(document.target and document.target.strip() for document in read(name)[1])


def test_known_pairs() -> None:
    test = [d for d in read("multi30k_en_de")[1] if d.split == S]
    assert test[0].text == "A man in an orange hat starring at something."
    assert test[0].target == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."


def test_word_vectors_can_be_read_where_they_lie() -> None:
    from lm_research.vectorizers.word_vectors import read_word_vectors

    sha256 = "b961b7b88bb09d21275c5ca3b1b686eeb629631c74e2e5c64e22ea30f255fd4e"
    file, downloads = RemoteFile("glove/glove.6B.50d.top50000.txt", [], sha256), Downloads(FOLDER)
    if not FOLDER or downloads.find(file) is None:
        pytest.skip(f"{file.name} is not in LM_RESEARCH_DOWNLOADS")
    downloads.fetch([file], "vectors")
    found = read_word_vectors(str(downloads.path(file)), {"the", "of"}, 50)
    assert found.vectors["the"][0] == pytest.approx(0.418)
