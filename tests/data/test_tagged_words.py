"""Words with tags: what a store keeps of them, and the batches made of it."""

import numpy as np
import pytest
import torch
import yaml

from lm_research.config.paths import shipped
from lm_research.data.document import DataError
from lm_research.data.document_batches import PADDING
from lm_research.data.preparation import prepare
from lm_research.data.tagged_batches import NO_TAG, TaggedBatches
from lm_research.data.tagged_words import TaggedSplit

SPLITS = {"validation": 0.2, "test": 0.2, "seed": 0}
BUDGET = {"train_bytes": 10**9, "eval_bytes": 10**9}
LINES = {  # words/TAG: some sentences, a document a line group
    "train": ["The/DET dog/NOUN does/AUX n't/PART bark/VERB ./PUNCT", "Cats/NOUN purr/VERB"] * 6,
    "validation": ["A/DET dog/NOUN 雨/NOUN 停/VERB 了/PART ./PUNCT", "Hush/X"],
    "test": ["Dogs/NOUN bark/VERB"],
}


def conllu(lines, text=lambda words: " ".join(words).replace(" n't", "n't").replace(" .", ".")):
    """CoNLL-U, two sentences a document."""
    found = []
    for number, line in enumerate(lines):
        pairs = [token.rsplit("/", 1) for token in line.split()]
        found += [f"# newdoc id = {number}"] if number % 2 == 0 else []
        found.append(f"# text = {text([word for word, _ in pairs])}")
        for place, (word, tag) in enumerate(pairs, start=1):
            own = tag.lower()
            found.append(f"{place}\t{word}\t_\t{tag}\t{own}\t_\t0\t_\t_\t_")
        found.append("")
    return "\n".join([*found, ""])


@pytest.fixture
def source(tmp_path):
    def source(lines=LINES, render=conllu, **options):
        for split, content in lines.items():
            (tmp_path / f"{split}.conllu").write_text(render(content), encoding="utf-8")
        files = [
            {
                "_target_": "lm_research.data.downloads.RemoteFile",
                "name": f"{split}.conllu",
                "urls": [],
                "sha256": None,
                "split": split,
            }
            for split in lines
        ]
        card = {"name": "tiny", "language": "en", "category": "web", "licence": "CC0-1.0"}
        target = "lm_research.data.sources.tagged.Tagged"
        place = {"downloads": str(tmp_path), "leaks": "keep", "format": "conllu"}
        return (
            {"_target_": target, "files": files, "document": "document", **place} | card | options
        )

    return source


@pytest.fixture
def prepared(source, tmp_path):
    def prepared(text="word", node=None, **options):
        node = node or source(**options)
        config = yaml.safe_load((shipped("conf") / f"text/{text}.yaml").read_text())
        for _ in range(2):  # made, and found
            found = prepare(node, config, SPLITS, BUDGET, tmp_path / "cache", tagged=True)
        return found

    return prepared


def split_of(found, name, classes=None):
    return TaggedSplit(found.store, name, classes or found.store.meta["classes"])


@pytest.mark.parametrize("text", ["byte", "character", "word", "bpe", "chinese_word"])
def test_every_word_comes_with_its_tag_and_its_tokens(prepared, text):
    found = prepared(text)
    assert found.store.meta["classes"] == sorted(
        {"DET", "NOUN", "AUX", "PART", "VERB", "X", "PUNCT"}
    )
    for name, lines in LINES.items():
        split = split_of(found, name)
        seen = []
        for index in range(len(split)):
            ids_N, ends_W, tags_W = split.sentence(index)
            forms, tags = split.forms(index), split.own_tags(index)
            assert [split.classes[tag] for tag in tags_W] == tags
            assert ends_W[-1] == len(ids_N)
            assert (np.diff(ends_W, prepend=0) > 0).all()
            for form, end, start in zip(forms, ends_W, [0, *ends_W], strict=False):
                word = found.tokenizer.decode(ids_N[start:end]).strip()
                assert word == form or "\ufffd" in word
            seen.append(" ".join(f"{f}/{t}" for f, t in zip(forms, tags, strict=True)))
        assert sorted(seen) == sorted(lines)
    held = split_of(found, "validation")
    assert held.ids() == ["tiny/validation/1#1", "tiny/validation/1#2"]
    assert sum(held.tag_counts()) == found.store.meta["tagging"]["words"]["validation"] == 7


def test_another_column_has_other_tags(prepared):
    assert "noun" in prepared(tag_column=4).store.meta["classes"]


def test_tags_are_matched_by_their_names(prepared):
    split = split_of(prepared(), "validation", ["X", "NOUN"])
    assert split.tags_W.tolist() == [-1, 1, 1, -1, -1, -1, 0]


def test_a_damaged_column_is_noticed(prepared):
    store = prepared().store
    assert not store.damaged()
    file = store.folder / "train.words.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    assert store.damaged() == ["train.words.bin"]


def test_words_that_are_not_in_their_text_are_counted_and_all_of_them_refused(prepared, source):
    def wrong(lines):
        return conllu(lines, lambda words: "x " + " ".join(words))

    with pytest.raises(DataError, match=r"(?s)no document has words with tags.*words_not_in_text"):
        prepared(node=source(render=wrong))
    lines = {**LINES, "train": ["Bad/X/X", *LINES["train"]]}

    def partly(lines):
        return conllu(lines, lambda words: " ".join(words).replace("Bad/X", "Good"))

    left_out = prepared(lines=lines, render=partly).store.meta["left_out"]["selection"]
    assert left_out["words_not_in_text"] == 1


def test_a_source_without_tags_is_refused(prepared, tmp_path):
    (tmp_path / "plain.txt").write_text("no tags here\n" * 9)
    card = {"name": "plain", "language": "en", "category": "web", "licence": "CC0-1.0"}
    target = "lm_research.data.sources.files.LocalFiles"
    node = {"_target_": target, "paths": str(tmp_path / "plain.txt"), **card}
    with pytest.raises(DataError, match="ud_english_ewt"):
        prepared(node=node)


def test_one_tag_is_too_few(prepared):
    lines = {name: ["Dogs/NOUN cats/NOUN"] * 3 for name in LINES}
    with pytest.raises(DataError, match="1 different tags"):
        prepared(lines=lines)


def test_an_epoch_has_every_sentence_once_and_a_batch_is_a_function_of_its_number(prepared):
    split = split_of(prepared("bpe"), "train")
    batches = TaggedBatches(split, 5, 1000, seed=3)
    for epoch in range(2):
        found = [batches.batch(epoch * batches.per_epoch + i) for i in range(batches.per_epoch)]
        rows = []
        for batch in found:
            for b, length in enumerate(batch.lengths_B.tolist()):
                words = int((batch.tags_BW[b] != NO_TAG).sum())
                ids, ends = batch.ids_BT[b, :length], batch.last_BW[b, :words] + 1
                assert (batch.ids_BT[b, length:] == PADDING).all()
                assert batch.first_BW[b, :words].tolist() == [0, *ends.tolist()[:-1]]
                assert ends[-1] == length
                assert not batch.last_BW[b, words:].any()
                rows.append(
                    (*ids.tolist(), -2, *ends.tolist(), -2, *batch.tags_BW[b, :words].tolist())
                )
        sentences = [split.sentence(i) for i in range(len(split))]
        assert sorted(rows) == sorted((*i, -2, *e, -2, *t) for i, e, t in sentences)
        assert found[-1].tokens_seen == (epoch + 1) * split.lengths_D.sum()
    again = TaggedBatches(split, 5, 1000, seed=3).batch(batches.per_epoch + 1)
    assert torch.equal(again.ids_BT, batches.batch(batches.per_epoch + 1).ids_BT)
