"""Units and their hashes, against a regular expression and a split."""

import re
import sys
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text import run_hashes
from lm_research.text import units as module
from lm_research.text.units import unit_hashes, units, units_of

unit_hashes("é")  # makes the table of all characters, once, outside hypothesis's deadline

# Letters that grow when lowered, that stand alone, that combine; every kind of white space.
TELLING = "aB1_ .,-\n\t\x1c\x85\u00a0\u2028\u3000İßǅſ\u0301漢字かなカﾊไทยကို\U00020000\ud800é"
words = st.text(st.sampled_from(TELLING), max_size=40)
texts = st.lists(
    st.one_of(words, st.text(max_size=30), st.text("ab C_1\n.", max_size=30)), max_size=8
)


@given(texts)
def test_hashes_are_those_of_the_units_one_by_one(documents):
    found = units_of(documents)
    expected = [units(text) for text in documents]
    assert found.lengths_D.tolist() == [len(one) for one in expected]
    assert found.words_D.tolist() == [len(text.split()) for text in documents]
    each = [int(unit_hashes(unit)[0]) for unit in chain.from_iterable(expected)]
    assert found.hashes_N.tolist() == each
    assert found.hashes_N.dtype == np.uint32


def test_no_character_is_forgotten():
    beyond = "".join(map(chr, range(module.LETTERS_END, sys.maxunicode + 1)))
    assert not re.search(r"[\w\s]", beyond)
    every = [chr(point) for point in range(0, module.LETTERS_END, 7)]
    assert units_of(every).lengths_D.tolist() == [len(units(text)) for text in every]


def test_pieces_do_not_show(monkeypatch):
    text = " ".join(f"word{n} 漢字 {'long' * (n % 50)}" for n in range(300))
    whole = unit_hashes(text)
    monkeypatch.setattr(run_hashes, "PIECE", 64)
    assert unit_hashes(text).tolist() == whole.tolist()


@pytest.mark.parametrize("alphabet", [range(ord("a"), ord("z") + 1), range(0xAC00, 0xAC80)])
def test_hashes_tell_units_apart(alphabet):
    letters = [chr(point) for point in alphabet]
    made = [a + b + c for a in letters[:20] for b in letters for c in letters]
    hashes = unit_hashes(" ".join(made))
    pairs = len(made) * (len(made) - 1) / 2
    # As many accidents as 32 random bits have, and not many more: five standard deviations.
    expected = pairs / 2**32
    assert len(made) - len(np.unique(hashes)) <= expected + 5 * expected**0.5 + 1
