import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import encoded, read_json, restored, write_json

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text('ab"\\\n\u2028字'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/", min_size=1), inner),
    max_leaves=10,
)


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("abc/_", min_size=1), VALUES))
def test_round_trip_is_valid_json_and_loses_nothing(values):
    back = restored(strict(encoded(values)))
    assert repr(back) == repr(values)  # repr: NaN equals itself, 1 differs from 1.0


def test_numbers_that_json_lacks_become_null_with_a_note():
    row = strict(encoded({"step": 1, "a/b": math.nan, "c": {"d": [-math.inf]}}))
    assert row == {
        "step": 1,
        "a/b": None,
        "c": {"d": [None]},
        "not_finite": {"a/b": "NaN", "c.d.0": "-Infinity"},
    }


def test_numpy_values_become_plain(tmp_path):
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1.0, np.nan]), "p": tmp_path}
    back = restored(strict(encoded(values)))
    assert back["a"] == 0.5
    assert back["b"] == 3
    assert back["c"][0] == 1.0
    assert math.isnan(back["c"][1])
    assert back["p"] == str(tmp_path)


def test_half_a_surrogate_pair_is_escaped(tmp_path):
    write_json(tmp_path / "a.json", {"text": "\ud83d", "字": "语"})
    assert read_json(tmp_path / "a.json") == {"text": "\ud83d", "字": "语"}


def test_full_disk_leaves_the_old_file_and_no_other(tmp_path, full_disk):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    full_disk()
    with pytest.raises(RunFolderError, match=r"summary\.json: the disk is full.*Free some space"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"status\.json"):
        read_json(path)
