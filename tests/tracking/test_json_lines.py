import json
import math
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_lines import JsonLines


@pytest.fixture
def rows(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    yield lines
    lines.close()


def steps(lines):
    return [row["step"] for row in lines]


def test_a_row_is_there_at_once_and_whole(rows):
    rows.append({"step": 1, "train/loss": 0.5, "text": "a\u2028b\n字"})
    rows.append({"step": 1, "val/loss": math.inf})
    first, second = rows.path.read_text(encoding="utf-8").split("\n")[:2]
    assert json.loads(first) == {"step": 1, "train/loss": 0.5, "text": "a\u2028b\n字"}
    assert json.loads(second)["val/loss"] is None
    assert list(JsonLines(rows.path))[1] == {"step": 1, "val/loss": math.inf}
    assert len(rows) == 2
    assert rows.last == {"step": 1, "val/loss": math.inf}


def test_a_file_that_is_not_there_has_no_rows(rows):
    assert list(rows) == []
    assert len(rows) == 0
    assert rows.last is None
    assert rows.truncate_after(3) == 0
    assert not rows.path.exists()


@pytest.mark.parametrize("step", [4, None, 4.0, "5"])
def test_steps_are_integers_that_never_decrease(rows, step):
    rows.append({"step": 5})
    with pytest.raises(ValueError, match="never decrease"):
        rows.append({"step": step})
    assert steps(rows) == [5]


@settings(max_examples=50, deadline=None)
@given(kept=st.integers(0, 3), torn=st.integers(1, 30))
def test_a_torn_last_row_is_passed_over_and_mended(tmp_path_factory, kept, torn):
    path = tmp_path_factory.mktemp("torn") / "metrics.jsonl"
    whole = [json.dumps({"step": i, "train/loss": 1.5}).encode() for i in range(kept + 1)]
    last = whole.pop() + b"\n"
    content = b"".join(line + b"\n" for line in whole) + last[: min(torn, len(last) - 2)]
    path.write_bytes(content)
    assert steps(JsonLines(path)) == list(range(kept))
    writer = JsonLines(path)
    writer.append({"step": 9})
    writer.close()
    assert steps(JsonLines(path)) == [*range(kept), 9]
    assert path.read_bytes().endswith(b"\n")


def test_a_last_row_that_lacks_only_its_newline_is_kept(rows):
    rows.path.write_bytes(b'{"step":1}\n{"step":2}')
    assert steps(rows) == [1, 2]
    rows.append({"step": 2, "a": 1})
    assert steps(rows) == [1, 2, 2]
    assert len(rows) == 3


def test_a_damaged_row_in_the_middle_is_named(rows):
    rows.path.write_bytes(b'{"step":1}\n\x00\x00\n{"step":2}\n')
    with pytest.raises(RunFolderError, match="line 2: damaged"):
        list(rows)


@pytest.mark.parametrize("content", [b"\x00\n", b"[]\n", b'{"a":1}\n', b'{"step":"x"}\n'])
def test_nothing_is_appended_after_a_damaged_row(rows, content):
    rows.path.write_bytes(content)
    with pytest.raises(RunFolderError, match="line 1: damaged"):
        rows.append({"step": 3})
    assert rows.path.read_bytes() == content


def test_going_back_keeps_what_it_takes_back(rows):
    for step in (0, 50, 100, 100, 150):
        rows.append({"step": step})
    assert rows.truncate_after(100) == 1
    assert steps(rows) == [0, 50, 100, 100]
    assert rows.truncate_after(100, rows=3) == 1
    assert rows.truncate_after(100, rows=3) == 0
    rows.append({"step": 150, "again": True})
    assert steps(rows) == [0, 50, 100, 150]
    folder = rows.path.parent
    assert steps(JsonLines(folder / "metrics.cut-1.jsonl")) == [150]
    assert steps(JsonLines(folder / "metrics.cut-2.jsonl")) == [100]


def test_going_back_before_the_first_row(rows):
    rows.append({"step": 5})
    assert rows.truncate_after(-1) == 1
    assert list(rows) == []
    rows.append({"step": 0})


@pytest.mark.parametrize("room", [0, 5])
def test_a_full_disk_takes_the_row_back(rows, full_disk, room):
    rows.append({"step": 1})
    full_disk(room)
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: the disk is full"):
        rows.append({"step": 2, "train/loss": 0.25})
    full_disk(None)
    assert rows.path.read_bytes() == b'{"step":1}\n'
    rows.append({"step": 2})
    assert steps(rows) == [1, 2]


def test_a_row_that_is_being_written_is_torn_not_damaged(rows):
    rows.path.write_bytes(b'{"step":1}\n{"st')
    reader = iter(rows)
    assert next(reader) == {"step": 1}
    with rows.path.open("ab") as writer:
        lines = rows._lines()
        assert [next(lines), next(lines)] == [b'{"step":1}\n', b'{"st']
        writer.write(b'ep":2}\n')
    assert list(lines) == []
    assert steps(rows) == [1, 2]


WRITER = """
import sys
from pathlib import Path
from lm_research.tracking.json_lines import JsonLines
lines = JsonLines(Path(sys.argv[1]))
step = -1 if lines.last is None else lines.last["step"]
print("writing", flush=True)
while True:
    step += 1
    lines.append({"step": step, "train/loss": 1 / (step + 1), "text": "x" * (step % 500)})
"""


def test_killed_writers_lose_no_row_that_was_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for _ in range(5):
        before = len(JsonLines(path))
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout.readline() == "writing\n"
            while len(JsonLines(path)) < before + 200 and writer.poll() is None:
                pass
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            writer.communicate()
        found = steps(JsonLines(path))
        assert found == list(range(len(found)))
        assert len(found) > before
