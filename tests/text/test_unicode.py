import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.unicode import printable, utf8_length, valid_unicode


@given(st.text())
def test_valid_text_stays_the_same_object(text):
    assert valid_unicode(text) is text


def test_each_lone_surrogate_is_replaced():
    assert valid_unicode("\ud800a\udfff\udc80") == "\ufffda\ufffd\ufffd"


@given(st.text(alphabet=st.characters(codec=None, categories=("L", "N", "Cs", "So"))))
def test_length_in_bytes(text):
    assert utf8_length(text) == len(valid_unicode(text).encode("utf-8"))


@pytest.mark.parametrize(
    ("piece", "name"), [(" a b", "␣a␣b"), ("\n\t", "\\n\\t"), ("\u200d", "\\u200d"), ("é", "é")]
)
def test_names(piece, name):
    assert printable(piece) == name
