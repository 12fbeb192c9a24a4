"""Reading block by block gives what reading the whole gives, for whatever text."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.config.paths import shipped
from lm_research.config.untrusted import UntrustedError, load_yaml
from lm_research.config.yaml_blocks import BlockReader

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    ["a: 1\n", "b:\n", "- x\n", "  c: 2\n", "a: 'x\n", "y'\n", "k: |\n", "  text\n",
     "# note\n", "---\n", "...\n", "&x ", "*x\n", "!t ", "{a: 1,\n", "b: 2}\n", "? q\n", ": v\n",
     "\n", "1: z\n",
     "'1': z\n", "<<: {a: 1}\n", "<<: {a: 1, b: 2}\n", '"k": [1,\n', "2]\n", "%YAML 1.1\n", "\t",
     "\r", "\ufeff", "e: 1e-4\n", "d: 2026-11-24\n", "g: >-\n", "plain\n", "\u2028", "\x85"]
)  # fmt: skip


def outcome(read, text):
    try:
        return read(text)
    except UntrustedError:
        return UntrustedError


@pytest.mark.parametrize("file", sorted(shipped("conf").rglob("*.yaml")), ids=lambda p: p.stem)
def test_our_own_files(file):
    text = file.read_bytes()
    reader = BlockReader()
    assert outcome(reader, text) == outcome(load_yaml, text)
    assert outcome(reader, text) == outcome(load_yaml, text)  # from memory


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans())
@settings(deadline=None)
def test_what_yaml_writes(values, flow):
    text = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True).encode()
    reader = BlockReader()
    expected = outcome(load_yaml, text)
    assert repr(outcome(reader, text)) == repr(expected) == repr(outcome(reader, text))


@given(st.lists(PIECES, max_size=9).map("".join), st.lists(PIECES, max_size=9).map("".join))
@settings(deadline=None, max_examples=300)
def test_hostile_texts_one_after_another(first, second):
    reader = BlockReader()
    for text in (first.encode(), second.encode(), first.encode()):
        assert repr(outcome(reader, text)) == repr(outcome(load_yaml, text))


def test_the_bounds_hold():
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 106)
    )
    for text in (bomb, b"a: " + b"[" * 100 + b"]" * 100, b"a: 1\na: 2\n"):
        with pytest.raises(UntrustedError):
            BlockReader()(text)


def test_a_change_is_made_to_each_part_once_and_to_what_is_read_whole():
    seen = []
    reader = BlockReader(lambda value: seen.append(value) or value)
    assert reader(b"a: 1\nb: 2\n") == {"a": 1, "b": 2}
    assert reader(b"a: 1\nb: 3\n") == {"a": 1, "b": 3}
    assert seen == [{"a": 1}, {"b": 2}, {"b": 3}]
    reader(b"--- {a: 1, b: 2}")
    assert seen[-1] == {"a": 1, "b": 2}
