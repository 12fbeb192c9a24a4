"""The token store: layout, atomic finish, races, crashes, memory."""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.data.batches import TrainingBatches
from lm_research.data.splits import SPLITS, Split
from lm_research.data.token_store import FORMAT, StoreWriter, TokenStore


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_the_layout_by_hand(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "store", vocabulary_size=300, separator_id=0)
    writer.add("train", ids(5, 299), 4, 2, 0.5)
    writer.add("validation", ids(7), 1, 1, float("nan"))
    writer.add("train", ids(), 0, 0, 0.0)
    writer.add("train", ids(8, 8, 8), 9, 1, 0.25)
    writer.write_json("tokenizer", {"pieces": ["世界"]})
    store = writer.finish({"language": "en"})

    raw = np.fromfile(tmp_path / "store" / "train.bin", "<u2")
    assert raw.tolist() == [0, 5, 299, 0, 0, 8, 8, 8, 0]
    train = store.split("train")
    assert train.ids_N.tolist() == raw.tolist()
    assert train.documents.tolist() == [(1, 2, 4, 2, 0.5), (4, 0, 0, 0, 0.0), (5, 3, 9, 1, 0.25)]
    assert [train.document(i).tolist() for i in range(3)] == [[5, 299], [], [8, 8, 8]]
    assert store.split("validation").ids_N.tolist() == [0, 7, 0]
    assert np.isnan(store.split("validation").documents["spelling_nats"]).all()
    assert store.split("test").ids_N.tolist() == [0]
    assert len(store.split("test").documents) == 0
    assert store.read_json("tokenizer") == {"pieces": ["世界"]}
    assert store.read_json("tags") is None

    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    assert meta == store.meta == TokenStore.open(tmp_path / "store").meta
    assert meta["format"] == FORMAT
    assert meta["language"] == "en"
    counts = {s: [meta["splits"][s][k] for k in ("documents", "tokens", "bytes")] for s in SPLITS}
    assert counts == {"train": [3, 5, 13], "validation": [1, 1, 1], "test": [0, 0, 0]}


documents = st.lists(
    st.tuples(st.sampled_from(SPLITS), st.lists(st.integers(1, 70_000), max_size=9)), max_size=20
)


@settings(deadline=None)  # how long a disk takes to write is not its business
@given(documents)
def test_what_is_written_is_read(tmp_path_factory, written: list[tuple[Split, list[int]]]) -> None:
    writer = StoreWriter(tmp_path_factory.mktemp("stores") / "store", 70_001, 0)
    for split, values in written:
        writer.add(split, ids(*values), 3 * len(values), len(values), 0.0)
    store = writer.finish({})
    for name in SPLITS:
        split = store.split(name)
        expected = [values for where, values in written if where == name]
        found = [split.document(i).tolist() for i in range(len(split.documents))]
        assert found == expected
        assert split.ids_N.tolist() == [0, *(i for values in expected for i in [*values, 0])]
        assert store.meta["splits"][name]["tokens"] == sum(map(len, expected))


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_as_long_as_they_fit(tmp_path: Path, size: int, dtype: str) -> None:
    writer = StoreWriter(tmp_path / "store", size, 0)
    writer.add("train", ids(size - 1, 1), 1, 1, 0.0)
    split = writer.finish({}).split("train")
    assert split.ids_N.dtype == dtype
    assert split.ids_N.tolist() == [0, size - 1, 1, 0]
    assert split.document(0).dtype == np.int64


def test_the_fingerprint_tells_texts_apart(tmp_path: Path) -> None:
    def fingerprint(name: str, *values: int) -> str:
        writer = StoreWriter(tmp_path / name, 300, 0)
        writer.add("train", ids(*values), 1, 1, 0.0)
        return writer.finish({}).meta["fingerprint"]

    assert fingerprint("a", 1, 2) == fingerprint("b", 1, 2) != fingerprint("c", 2, 1)


def test_the_digest_of_the_text_by_hand(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "store", 300, 0)
    for text in ("one é", "", "two"):
        writer.add("validation", ids(1), 1, 1, 0.0, text.encode())
    writer.add("train", ids(1), 1, 1, 0.0, b"known")
    writer.add("train", ids(1), 1, 1, 0.0)
    splits = writer.finish({}).meta["splits"]
    expected = hashlib.sha256("one é".encode() + b"\xff\xfftwo\xff").hexdigest()
    assert splits["validation"]["text_sha256"] == expected
    assert splits["train"]["text_sha256"] is None  # not of a part, as if it were the whole
    assert splits["test"]["text_sha256"] == hashlib.sha256().hexdigest()


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_the_digest_of_the_text_tells_where_documents_end(tmp_path_factory, one, other) -> None:
    def digest(texts: list[str]) -> str:
        writer = StoreWriter(tmp_path_factory.mktemp("stores") / "store", 300, 0)
        for text in texts:
            writer.add("train", ids(1), 1, 1, 0.0, text.encode())
        writer.discard()
        return writer.text_hashes["train"].hexdigest()

    assert (digest(one) == digest(other)) == (one == other)
    assert digest(["ab", *one]) != digest(["a", "b", *one])


def test_a_split_is_read_only_and_travels_as_a_name(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "store", 300, 0)
    writer.add("train", np.arange(1, 200).repeat(1000), 1, 1, 0.0)
    split = writer.finish({}).split("train")
    assert isinstance(split.ids_N, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        split.ids_N[0] = 1
    data = pickle.dumps(split)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data).ids_N, split.ids_N)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_nothing_stands_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "store", 300, 0)
    writer.add("train", ids(1), 1, 1, 0.0)
    assert not (tmp_path / "store").exists()
    writer.discard()
    assert names(tmp_path) == []


def test_the_second_builder_takes_the_store_of_the_first(tmp_path: Path) -> None:
    writers = [StoreWriter(tmp_path / "store", 300, 0) for _ in range(2)]
    for writer in writers:
        writer.add("train", ids(1, 2), 2, 1, 0.0)
    first, second = (writer.finish({}) for writer in writers)
    assert first.meta == second.meta
    assert first.split("train").ids_N.tolist() == second.split("train").ids_N.tolist()
    assert names(tmp_path) == ["store"]


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine.txt").write_text("precious")
    writer = StoreWriter(tmp_path / "store", 300, 0)
    with pytest.raises(OSError, match="store"):
        writer.finish({})
    assert (tmp_path / "store" / "mine.txt").read_text() == "precious"


BUILDER = """
import os, sys, time
from pathlib import Path
import numpy as np
from lm_research.data.token_store import StoreWriter
folder, me, other, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
for number in range(rounds):
    writer = StoreWriter(folder / f"store{number}", 300, 0)
    for split in ("train", "validation"):
        writer.add(split, np.arange(1, 200), 199, 1, 0.0)
    (folder / "ready" / f"{me}{number}").touch()
    while not (folder / "ready" / f"{other}{number}").exists():
        pass
    store = writer.finish({})
    assert store.split("train").ids_N.tolist() == [0, *range(1, 200), 0]
    assert len(store.split("validation").documents) == 1
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


def test_two_processes_that_build_one_store_at_once_end_with_one(tmp_path: Path) -> None:
    rounds = 50
    (tmp_path / "ready").mkdir()
    builders = [start(BUILDER, tmp_path, me, other, rounds) for me, other in ("ab", "ba")]
    assert [builder.wait(timeout=240) for builder in builders] == [0, 0]
    assert names(tmp_path) == sorted(["ready", *(f"store{n}" for n in range(rounds))])


CRASH = """
import os, signal, sys
from pathlib import Path
import numpy as np
from lm_research.data import token_store
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
writer = token_store.StoreWriter(Path(sys.argv[1]) / "store", 300, 0)
writer.add("train", np.arange(1, 200), 199, 1, 0.0)
if sys.argv[2] == "finish":
    os.rename = die
    writer.finish({})
die()
"""


@pytest.mark.parametrize("moment", ["add", "finish"])
def test_a_crash_leaves_no_half_store(tmp_path: Path, moment: str) -> None:
    assert start(CRASH, tmp_path, moment).wait(timeout=240) == -signal.SIGKILL
    assert not (tmp_path / "store").exists()
    (leftover,) = names(tmp_path)
    assert leftover.endswith(".tmp")
    writer = StoreWriter(tmp_path / "another", 300, 0)  # of whatever store
    assert leftover not in names(tmp_path)
    writer.discard()
    writer = StoreWriter(tmp_path / "store", 300, 0)
    writer.add("train", ids(1), 1, 1, 0.0)
    assert writer.finish({}).split("train").ids_N.tolist() == [0, 1, 0]
    assert names(tmp_path) == ["store"]


def test_a_full_disk_leaves_no_half_store(tmp_path: Path, monkeypatch) -> None:
    writer = StoreWriter(tmp_path / "store", 300, 0)
    writer.add("train", ids(1), 1, 1, 0.0)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        writer.finish({})
    assert not (tmp_path / "store").exists()
    writer.discard()
    assert names(tmp_path) == []


MIB = 1 << 20


@pytest.mark.slow
def test_memory_grows_neither_with_the_documents_nor_with_their_number(tmp_path: Path) -> None:
    long_N, short_N = np.arange(1, 200).repeat(5_000), np.arange(1, 20)
    tracemalloc.start()
    try:
        writer = StoreWriter(tmp_path / "store", 300, 0)
        for _ in range(30):  # 60 MB of ids
            writer.add("train", long_N, len(long_N), 1, 0.0)
        for _ in range(50_000):  # 2 MB of records
            writer.add("validation", short_N, 1, 1, 0.0)
        store = writer.finish({})
        building = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for batch in TrainingBatches(store.split("train"), 16, 64, steps=200, seed=0):
            assert batch.ids_BT.shape == (16, 64)
        assert store.split("validation").document(49_999).tolist() == short_N.tolist()
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert store.split("train").ids_N.nbytes > 56 * MIB
    assert building < 6 * MIB  # one long document, as ids and as bytes
    assert reading < 1 * MIB
