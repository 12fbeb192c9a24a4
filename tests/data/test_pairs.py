"""Documents with targets: what a store keeps of them, and the batches made of it."""

import json

import numpy as np
import pytest
import torch

from lm_research.data.document import DataError
from lm_research.data.document_batches import PADDING
from lm_research.data.pair_batches import END, PairBatches, inputs_of, pair_batch
from lm_research.data.pairs import PairedSplit
from lm_research.data.preparation import prepare

SPLITS = {"validation": 0.2, "test": 0.2, "seed": 0}
BUDGET = {"train_bytes": 10**9, "eval_bytes": 10**9}
WORDS = {
    "cleaning": [],
    "tokenizer": {"_target_": "lm_research.text.word.WordTokenizer", "vocabulary_size": 1000},
    "tagger": None,
}
ROWS = [{"text": f"one {i} two", "target": f"  eins {i * 7} " if i % 5 else ""} for i in range(200)]


@pytest.fixture
def source(tmp_path):
    def source(rows):
        file = tmp_path / f"{len(rows)}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return {
            "_target_": "lm_research.data.sources.files.LocalFiles",
            "paths": str(file),
            "target_field": "target",
            "name": "rows",
            "language": "en",
            "category": "web",
            "licence": "unknown",
        }

    return source


@pytest.fixture(params=["shared", "separate"])
def prepared(request, source, tmp_path):
    node = source(ROWS)
    for _ in range(2):  # made, and found
        found = prepare(node, WORDS, SPLITS, BUDGET, tmp_path / "cache", pairs=request.param)
    return request.param, found


def test_every_document_comes_with_its_own_target(prepared):
    vocabulary, found = prepared
    writer = found.target_tokenizer if vocabulary == "separate" else found.tokenizer
    expected = {row["text"]: row["target"].strip() for row in ROWS if row["target"]}
    seen = {}
    for name in ("train", "validation", "test"):
        split = PairedSplit(found.store, name)
        for index in range(len(split)):
            source = found.tokenizer.decode(split.source(index))
            target = writer.decode(split.target(index))
            assert len(split.target(index)) == split.target_lengths_D[index]
            if name == "train":
                seen[source] = target
            else:
                seen[split.texts["sources"][index]] = split.texts["targets"][index]
                assert writer.encode(split.texts["targets"][index]).ids_N.tolist() == (
                    split.target(index).tolist()
                )
    assert seen == expected
    assert found.store.meta["left_out"]["selection"]["without_target"] == 40
    known = found.tokenizer.state_dict()["pieces"]
    assert ("eins" in known) == (vocabulary == "shared")


def test_a_damaged_target_is_noticed(prepared):
    store = prepared[1].store
    assert not store.damaged()
    file = store.folder / "train.targets.bin"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    assert store.damaged() == ["train.targets.bin"]


def test_a_source_without_targets_is_refused(source, tmp_path):
    node = source([{"text": f"text {i}", "target": " "} for i in range(30)])
    with pytest.raises(DataError, match=r"(?s)no document has a target.*data\.target_field"):
        prepare(node, WORDS, SPLITS, BUDGET, tmp_path / "cache", pairs="shared")


def test_an_epoch_has_every_pair_once_and_a_batch_is_a_function_of_its_number(prepared):
    split = PairedSplit(prepared[1].store, "train")
    batches = PairBatches(split, 7, 1000, seed=3)
    expected = sorted((*split.source(i), -2, *split.target(i), END) for i in range(len(split)))
    for epoch in range(2):
        found = [batches.batch(epoch * batches.per_epoch + i) for i in range(batches.per_epoch)]
        rows = []
        for batch in found:
            for b, (s, t) in enumerate(
                zip(batch.source_lengths_B.tolist(), batch.target_lengths_B.tolist(), strict=True)
            ):
                rows.append(
                    (*batch.source_BS[b, :s].tolist(), -2, *batch.target_BT[b, :t].tolist())
                )
                assert (batch.source_BS[b, s:] == PADDING).all()
                assert (batch.target_BT[b, t:] == PADDING).all()
        assert sorted(rows) == expected
        assert found[-1].tokens_seen == (epoch + 1) * batches.lengths_D.sum()
    again = PairBatches(split, 7, 1000, seed=3).batch(batches.per_epoch + 2)
    assert torch.equal(again.target_BT, batches.batch(batches.per_epoch + 2).target_BT)


def test_a_target_that_is_cut_has_no_end():
    ids = [np.arange(1, 6), np.arange(1, 3)]
    batch = pair_batch(ids, ids, most_source=3, most_target=4)
    assert batch.source_BS.tolist() == [[1, 2, 3], [1, 2, PADDING]]
    assert batch.target_BT.tolist() == [[1, 2, 3, 4], [1, 2, END, PADDING]]
    assert inputs_of(batch.target_BT).tolist() == [[END, 1, 2, 3], [END, 1, 2, END]]
