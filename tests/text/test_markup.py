from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.markup import RemoveMarkup

RULE = RemoveMarkup()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("no markup, 1 < 2 > 0", "no markup, 1 < 2 > 0"),
        ("a <b>bold</b> word", "a bold word"),
        ("one<br/>two<p class='x'>three</p>", "one\ntwo\nthree\n"),
        ("<a title=\"x > y\" href='z'>link</a>", "link"),
        ("<p don't>text", "\ntext"),
        ("a<!-- <b>hidden</b> -->b", "ab"),
        ("a<script type='x'>if (1 < 2) {}</script >b", "ab"),
        ("<STYLE>p > a {}</Style>b", "b"),
        ("<!DOCTYPE html><?xml version='1.0'?>a", "a"),
        ("<![CDATA[kept]]>", "kept"),
        ("&lt;b&gt; &amp;amp; &#233; &#x1F600; &eacute;", "<b> &amp; é 😀 é"),
        ("?a=1&copy=2&unknown;", "?a=1&copy=2&unknown;"),
        ("a<!-- never closed", "a never closed"),
        ("a<script>never closed", "anever closed"),
        ("</script>a<", "a<"),
        ("", ""),
    ],
)
def test_markup(text, plain):
    assert RULE(text) == plain


class TextOf(HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_data(self, data):
        self.parts.append(data)


WORDS = st.text(alphabet="abcé 日&", max_size=8).map(lambda s: s.replace("&", "&amp;"))
INLINE = st.sampled_from(["b", "i", "span", "a href='x'", 'em title="a > b"'])


@given(st.lists(st.tuples(INLINE, WORDS, WORDS), max_size=6))
def test_well_formed_inline_markup_agrees_with_an_html_parser(parts):
    text = "".join(f"<{tag}>{a}</{tag.split()[0]}>{b}" for tag, a, b in parts)
    parser = TextOf()
    parser.feed(text)
    parser.close()
    assert RULE(text) == "".join(parser.parts)
