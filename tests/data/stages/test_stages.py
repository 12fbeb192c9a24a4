"""Stages of preparation: what is kept, what is made again, and that no id tells of it."""

import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

from lm_research.data import preparation
from lm_research.data.document import DataError, Document
from lm_research.data.preparation import prepare
from lm_research.data.sources.files import LocalFiles
from lm_research.data.splits import SPLITS
from lm_research.data.stages import documents, encoded
from lm_research.data.stages.cleaned import added
from lm_research.data.stages.documents import Shard, from_parts, to_parts
from lm_research.data.stages.mapped import BatchMapper
from lm_research.data.stages.shards import Shards
from lm_research.data.stages.workers import in_order
from lm_research.text.cleaning import LowerCase, NormalizeUnicode

WORDS = {"_target_": "lm_research.text.word.WordTokenizer", "vocabulary_size": 300}
NFKC = {"_target_": "lm_research.text.cleaning.NormalizeUnicode", "form": "NFKC"}
LOWER = {"_target_": "lm_research.text.cleaning.LowerCase"}
EXACT = {"_target_": "lm_research.text.duplicates.ExactDuplicates"}
LONG = {"_target_": "lm_research.text.cleaning.LengthFilter", "min_characters": 20}
SPLIT_OPTIONS = {"validation": 0.2, "test": 0.2, "seed": 0}
BUDGET = {"train_bytes": 10**9, "eval_bytes": 10**9}
ROWS = [
    f"Row {i} ＡＢ says word{i % 40} again, and again: word{i % 7}. " * (i % 5) for i in range(900)
]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(documents, "SMALLEST", 1 << 12)
    monkeypatch.setattr(documents, "LARGEST", 1 << 13)
    monkeypatch.setattr(encoded, "BLOCK_BYTES", 1 << 12)


@pytest.fixture
def node(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in [*ROWS, *ROWS[:50]]))
    named = {"name": "rows", "language": "en", "category": "web", "licence": "unknown"}
    return {"_target_": f"{LocalFiles.__module__}.LocalFiles", "paths": str(file), **named}


@pytest.fixture
def make(tmp_path, node):
    def make(*cleaning, tokenizer=WORDS, cache="cache", workers=1):
        text = {"cleaning": list(cleaning), "tokenizer": tokenizer, "tagger": None}
        return prepare(node, text, SPLIT_OPTIONS, BUDGET, tmp_path / cache, workers=workers)

    return make


@pytest.fixture
def written(monkeypatch):
    """The shards written, as (stage, key, number)."""
    found, write = [], Shards.write

    def noted(self, number, parts):
        found.append((self.folder.parent.name, self.folder.name, number))
        write(self, number, parts)

    monkeypatch.setattr(Shards, "write", noted)
    return found


def content(prepared):
    splits = prepared.store.meta["splits"]
    return {name: dict(splits[name]) for name in SPLITS}


def stages(written):
    return {stage for stage, _, _ in written}


def test_a_document_survives_its_shard():
    whole = [
        Document("a \ud83d b", "s", "1", label="x", split="train"),
        Document("字", "s", "2", target="t", words=("a", "b"), tags=("X", "Y")),
    ]
    shard = Shard(3, whole, {"skipped": {"empty": 2}}, True)
    assert from_parts(3, to_parts(shard)) == shard


def test_counts_of_shards_add_up():
    one = [{"name": "a", "documents_in": 1, "reasons": {"x": 1}}]
    two = [{"name": "a", "documents_in": 2, "reasons": {"x": 1, "y": 3}}]
    both = [{"name": "a", "documents_in": 3, "reasons": {"x": 2, "y": 3}}]
    assert added([one, two]) == both
    assert added([]) == []


@pytest.mark.parametrize("cleaning", [(), (NFKC, LONG), (LOWER, EXACT, LONG)])
def test_several_processes_make_what_one_makes(make, cleaning):
    alone, together = make(*cleaning), make(*cleaning, cache="other", workers=3)
    assert content(together) == content(alone)
    meta = [prepared.store.meta["left_out"] for prepared in (alone, together)]
    assert meta[0] == meta[1]


def test_a_changed_step_redoes_what_follows_it(make, written):
    make(NFKC, EXACT)
    assert stages(written) == {"documents", "cleaned", "encoded"}
    written.clear()
    make(NFKC, EXACT, tokenizer={**WORDS, "vocabulary_size": 30})
    assert stages(written) == {"encoded"}
    written.clear()
    make(NFKC, {**EXACT})
    assert written == []  # nothing is done twice
    make(NFKC, LOWER, EXACT)
    assert stages(written) == {"cleaned", "encoded"}
    written.clear()
    make(NFKC, EXACT, LONG)
    assert stages(written) == {"cleaned", "encoded"}
    # What comes before the first rule that remembers is there.
    assert len({key for stage, key, _ in written if stage == "cleaned"}) == 1


def test_stages_leave_the_store_as_it_is_without_them(make, node):
    """The oracle: documents one by one, as they come out of a selection that keeps nothing."""
    from lm_research.config.build import build
    from lm_research.data.selection import Selection

    prepared = make(NFKC, EXACT)
    caps = dict.fromkeys(SPLITS, 10**9)
    selection = Selection(build(node), [NFKC, EXACT], SPLIT_OPTIONS, caps)
    expected = {split: [] for split in SPLITS}
    for split, document in selection:
        expected[split].append(document.text)
    for split in SPLITS:
        tokens, ids = prepared.store.split(split), prepared.tokenizer
        assert len(tokens.documents) == len(expected[split])
        for place, text in enumerate(expected[split]):
            encoding = ids.encode(text)
            np.testing.assert_array_equal(tokens.document(place), encoding.ids_N)
            record = tokens.documents[place]
            assert record["bytes"] == len(text.encode())
            assert record["words"] == len(text.split())
            assert record["spelling_nats"] == encoding.spelling_nats


KILLED = """
import os, signal, sys
from lm_research.data.preparation import prepare
from lm_research.data.stages import documents, encoded
from lm_research.data.stages.shards import Shards
documents.SMALLEST, documents.LARGEST, encoded.BLOCK_BYTES = 1 << 12, 1 << 13, 1 << 12
write, left = Shards.write, [int(sys.argv[2])]
def dying(self, number, parts):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, number, parts)
Shards.write = dying
import json
prepare(*json.loads(sys.argv[1]), workers=1)
"""


@pytest.mark.parametrize("after", [2, 12, 24])
def test_a_build_that_was_killed_goes_on(make, node, written, tmp_path, after):
    whole = content(make(NFKC, EXACT, cache="whole"))
    total = len(written)
    text = {"cleaning": [NFKC, EXACT], "tokenizer": WORDS, "tagger": None}
    given = [node, text, SPLIT_OPTIONS, BUDGET, str(tmp_path / "cut")]
    command = [sys.executable, "-c", KILLED, json.dumps(given), str(after)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    written.clear()
    assert content(make(NFKC, EXACT, cache="cut")) == whole
    assert len(written) == total - after
    left = [p.name for p in (tmp_path / "cut").rglob("*.tmp")]
    assert not left


def test_two_builds_at_once_end_alike(make, node, tmp_path):
    text = {"cleaning": [NFKC, EXACT], "tokenizer": WORDS, "tagger": None}
    given = [node, text, SPLIT_OPTIONS, BUDGET, str(tmp_path / "shared")]
    command = [sys.executable, "-c", KILLED, json.dumps(given), "100000"]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert content(make(NFKC, EXACT, cache="shared")) == content(make(NFKC, EXACT, cache="whole"))
    assert len(list((tmp_path / "shared/tokens").iterdir())) == 1


@pytest.mark.parametrize("stage", ["documents", "cleaned"])
def test_a_damaged_shard_is_found_and_made_again(make, written, tmp_path, caplog, stage):
    whole = content(make(NFKC))
    (shard,) = list((tmp_path / "cache/stages" / stage).glob("*/000003.shard"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    for folder in (tmp_path / "cache/tokens").iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    if stage == "documents":  # which nobody looks at while the cleaned ones are there
        for file in (tmp_path / "cache/stages/cleaned").glob("*/*"):
            file.unlink()
    written.clear()
    assert content(make(NFKC)) == whole
    assert (stage, shard.parent.name, 3) in written
    assert f"{shard} is damaged; it is made again" in caplog.text


@pytest.mark.parametrize("name", ["train.bin", "validation.documents.bin", "test.units.bin"])
def test_a_damaged_store_is_found_and_made_again(make, written, caplog, name):
    prepared = make(NFKC)
    whole = content(prepared)
    file = prepared.store.folder / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    written.clear()
    assert content(make(NFKC)) == whole
    assert stages(written) == {"encoded"}
    assert f"{name} damaged" in caplog.text
    assert make(NFKC).store.damaged() == []


def test_a_disk_that_takes_no_shard_is_told(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match=r"No space left.*cache=FOLDER"):
        Shards(tmp_path / "stage").write(0, [b"x"])
    assert list((tmp_path / "stage").iterdir()) == []


def test_work_is_done_in_order_by_processes_of_their_own():
    def square(number):
        return number**2, os.getpid()

    done = list(in_order(square, range(20), workers=3))
    assert [value for value, _ in done] == [n**2 for n in range(20)]
    assert os.getpid() in {pid for _, pid in done[:2]}
    assert os.getpid() not in {pid for _, pid in done[2:]}


def test_an_error_in_a_process_is_the_callers():
    def fail(number):
        if number == 7:
            raise DataError("seven")
        return number

    with pytest.raises(DataError, match="seven"):
        list(in_order(fail, range(20), workers=2))


def test_a_batch_of_a_cluster_becomes_the_same_ids(make):
    datasets = pytest.importorskip("datasets")
    prepared = make(NFKC, LONG)
    text = {"cleaning": [NFKC, LONG], "tokenizer": WORDS, "tagger": None}
    mapper = pickle.loads(pickle.dumps(BatchMapper(text, prepared.tokenizer.state_dict())))
    rows = datasets.Dataset.from_dict({"text": ROWS})
    found = rows.map(mapper, batched=True, batch_size=64, remove_columns=["text"])
    ids = {t: tuple(i) for t, i in zip(found["text"], found["ids"], strict=True)}
    assert set(ids) == {NormalizeUnicode("NFKC")(row) for row in ROWS if len(row) >= 20}
    for clean, row in ids.items():
        assert row == tuple(prepared.tokenizer.encode(clean).ids_N)
    with pytest.raises(DataError, match="compares a text"):
        BatchMapper({**text, "cleaning": [EXACT]}, {})


@pytest.mark.slow
def test_ray_data_makes_the_same_ids(make):
    ray_data = pytest.importorskip("ray.data")
    import ray

    prepared = make(NFKC, LONG)
    text = {"cleaning": [NFKC, LONG], "tokenizer": WORDS, "tagger": None}
    mapper = BatchMapper(text, prepared.tokenizer.state_dict())
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = ray_data.from_items([{"text": row} for row in ROWS])
        found = rows.map_batches(mapper, batch_size=64).take_all()
    finally:
        ray.shutdown()
    assert {row["text"] for row in found} == {
        NormalizeUnicode("NFKC")(row) for row in ROWS if len(row) >= 20
    }
    for row in found:
        assert tuple(row["ids"]) == tuple(prepared.tokenizer.encode(row["text"]).ids_N)


def test_progress_counts_every_byte(make, node, tmp_path):
    told = {}
    text = {"cleaning": [], "tokenizer": WORDS, "tagger": None}

    def tell(what, size):
        told[what] = told.get(what, 0) + size

    prepared = prepare(node, text, SPLIT_OPTIONS, BUDGET, tmp_path / "told", tell=tell)
    splits = prepared.store.meta["splits"]
    assert told["ids"] == sum(splits[name]["bytes"] for name in SPLITS)
    assert told["vocabulary"] == splits["train"]["bytes"]
    assert preparation.silent("ids", 1) is None
    assert LowerCase()("A") == "a"
