"""Labels from the source to a batch: one a document, several, or none."""

import json

import numpy as np
import pytest
import torch

from lm_research.config.compose import compose
from lm_research.data.document import DataError, Document
from lm_research.data.document_batches import DocumentBatches
from lm_research.data.labels import LabelledSplit, MultilabelSplit, classes_of, labelled_split
from lm_research.data.preparation import prepare
from lm_research.data.stages.documents import Shard, from_parts, to_parts

CHOICES = (["a"], ["b", "a"], [], None, ["c", "a", "c"], ["b"])


def rows(count=120):
    return [
        {"id": str(i), "text": f"{('red', 'blue', 'green')[i % 3]} number {i} " * 3,
         "topics": CHOICES[i % len(CHOICES)]}
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture
def prepared(tmp_path):
    """A store of a file of rows; prepared(rows, labelled, data.field=value, ...)."""

    def prepared(records, labelled="several", *overrides):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in records))
        chosen = ["data=files", f"data.paths={file}", "data.label_field=topics", "text=word"]
        fields = ["data.id_field=id", "splits.validation=0.3", "splits.test=0.1"]
        config = compose([*chosen, *fields, "budget=smoke", *overrides]).config
        groups = (config[name] for name in ("data", "text", "splits", "budget"))
        return prepare(*groups, tmp_path / "cache", labelled=labelled)

    return prepared


def test_several_labels_come_with_their_documents(prepared):
    store = prepared(rows()).store
    assert classes_of(store) == ["a", "b", "c"]
    by_id = {f"files/{row['id']}": row["topics"] for row in rows()}
    met = set()
    for name in ("validation", "test"):
        split = labelled_split(store, name, ["a", "b", "c"])
        assert isinstance(split, MultilabelSplit)
        for index, row in zip(split.ids(), split.labels_DC, strict=True):
            found = [label for label, is_one in zip("abc", row, strict=True) if is_one]
            assert found == sorted(set(by_id[index]))
            met.add(len(found))
    assert met == {0, 1, 2}
    left_out = store.meta["left_out"]["selection"]["without_label"]
    assert left_out == 20  # null: nobody has said
    train = labelled_split(store, "train", ["a", "b", "c"])
    assert train.counts() == train.labels_DC.sum(0).tolist()
    chosen = np.array([3, 0, 5])
    np.testing.assert_array_equal(train.targets(chosen), train.labels_DC[chosen])


def test_of_other_classes_the_known_count_and_the_rest_are_left_out(prepared):
    store = prepared(rows()).store
    whole = labelled_split(store, "train", ["a", "b", "c"])
    part = labelled_split(store, "train", ["c", "b"])
    turned = whole.labels_DC[:, [2, 1]]
    kept = turned.any(1) | ~whole.labels_DC.any(1)
    np.testing.assert_array_equal(part.labels_DC, turned[kept])
    np.testing.assert_array_equal(part.places_D, whole.places_D[kept])
    assert part.left_out == (~kept).sum() > 0


def test_a_batch_has_a_row_of_classes_for_each_document(prepared):
    split = labelled_split(prepared(rows()).store, "train", ["a", "b", "c"])
    batches = DocumentBatches(split, 8, 1000, seed=1)
    found = [batches.batch(i) for i in range(batches.per_epoch)]
    assert all(batch.labels_B.dtype == torch.bool for batch in found)
    pairs = sorted(
        (ids.tolist(), labels.tolist())
        for batch in found
        for ids, labels in zip(batch.documents(), batch.labels_B, strict=True)
    )
    expected = [
        (split.document(i).tolist(), split.labels_DC[i].tolist()) for i in range(len(split))
    ]
    assert pairs == sorted(expected)


def test_several_labels_are_refused_where_the_task_learns_one(prepared):
    with pytest.raises(
        DataError, match=r"task.labels=one: files/\d+ has 2 labels \([a-c], [a-c]\)"
    ):
        prepared(rows(), "one")
    with pytest.raises(DataError, match=r"fix: task\.labels=several"):
        prepared(rows(), "one")


def test_lists_of_one_label_are_one_label(prepared):
    kept = [row for row in rows() if row["topics"] in (["a"], ["b"], [])]
    store = prepared(kept, "one").store
    split = labelled_split(store, "train", classes_of(store))
    assert type(split) is LabelledSplit
    assert split.labels_D.dtype == np.int64
    assert store.meta["left_out"]["selection"]["without_label"] == 20  # []: not one


def test_single_labels_are_sets_of_one(prepared):
    kept = [row | {"topics": row["topics"][0]} for row in rows() if row["topics"]]
    one, several = prepared(kept, "one").store, prepared(kept, "several").store
    assert one.folder != several.folder
    first, second = (labelled_split(store, "train", ["a", "b", "c"]) for store in (one, several))
    np.testing.assert_array_equal(second.labels_DC.argmax(1), first.labels_D)
    assert (second.labels_DC.sum(1) == 1).all()


def test_documents_without_any_label_are_no_data_to_learn_from(prepared):
    with pytest.raises(DataError, match="0 different labels"):
        prepared([row | {"topics": []} for row in rows()])


def test_a_damaged_column_is_told(prepared):
    store = prepared(rows()).store
    file = store.folder / "train.label_counts.bin"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match="damaged"):
        labelled_split(store, "train", ["a", "b", "c"])


def test_shards_keep_labels_and_those_of_before_are_read():
    documents = [Document("x", "s", "1", labels=("a", "b")), Document("y", "s", "2", "c")]
    parts = to_parts(Shard(0, documents))
    assert from_parts(0, parts).documents == documents
    before = json.dumps([values[:-1] for values in json.loads(parts[3])]).encode()
    assert from_parts(0, [*parts[:3], before]).documents[1] == documents[1]
