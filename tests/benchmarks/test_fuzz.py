"""A short form of `benchmarks/fuzz.py`: the same mutations, the same promises."""

import fuzz
import pytest
from fuzz_suite.targets import TARGETS

pytestmark = pytest.mark.slow

INPUTS = {"studies": 4, "vectors": 500, "corpora": 200}
DEFAULT = 30


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_comes_of_it_but_our_own_errors(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    folder.mkdir()
    result = fuzz.fuzz(name, INPUTS.get(name, DEFAULT), 60, folder)
    assert result["inputs"] == INPUTS.get(name, DEFAULT)
    assert result["findings"] == {}


def test_a_finding_is_found(tmp_path, monkeypatch):
    """An oracle that finds nothing proves nothing."""

    class Broken(TARGETS["vectors"]):
        allowed = ()

    monkeypatch.setitem(TARGETS, "vectors", Broken)
    folder = tmp_path / "files"
    folder.mkdir()
    found = fuzz.fuzz("vectors", 50, 30, folder)["findings"]
    assert any(where.startswith("ValueError at word_vectors.py") for where in found)
