"""Each rule of C4 on both sides of its threshold."""

import pytest

from lm_research.text.cleaning import Drop
from lm_research.text.quality.c4 import (
    C4CitationMarkers,
    C4CurlyBracket,
    C4JavascriptLines,
    C4LineWords,
    C4LongWords,
    C4LoremIpsum,
    C4PolicyLines,
    C4Sentences,
    C4TerminalPunctuation,
)


def test_lines_end_in_a_terminal_mark():
    kept = ["A line.", "Is it?", "It is!", 'He said "yes."', "She said “no.”", "  Spaces after.  "]
    gone = ["A menu", "To be continued...", "A list:", "a, b,", "", "End;"]
    mixed = [line for pair in zip(kept, gone, strict=True) for line in pair]
    assert C4TerminalPunctuation()("\n".join(mixed)) == "\n".join(kept)


def test_lines_have_five_words():
    assert C4LineWords()("one two three four\none two three four five") == "one two three four five"
    assert C4LineWords(4)("one two three four") == "one two three four"


def test_pages_have_three_sentences():
    assert C4Sentences()("One here. Two here.") == Drop("too few sentences")
    three = "One here. Two here.\nThree there."
    assert C4Sentences()(three) == three
    assert C4Sentences(2)("One here. Two here.") == "One here. Two here."


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (C4JavascriptLines(), "Please turn on JavaScript to see this."),
        (C4PolicyLines(), "See our Privacy Policy for more."),
        (C4PolicyLines(), "This site uses cookies."),
        (C4PolicyLines(), "By this you agree to the Terms of Use."),
        (C4LongWords(), "a " + "x" * 1001),
    ],
)
def test_lines_that_go(rule, bad):
    good = "Scripts and policies are discussed here; x" + "x" * 900
    assert rule(f"{good}\n{bad}\n{good}") == f"{good}\n{good}"


def test_pages_that_go():
    assert C4LoremIpsum()("Then: Lorem ipsum dolor") == Drop("lorem ipsum")
    assert C4LoremIpsum()("Lorem is not ipsum.") == "Lorem is not ipsum."
    assert C4CurlyBracket()("if (a) { b }") == Drop("curly bracket")
    assert C4CurlyBracket()("if (a) [ b ]") == "if (a) [ b ]"


def test_citation_markers():
    text = "Bits[1][23] are small.[citation needed] History[edit] [sic] a[i]"
    assert C4CitationMarkers()(text) == "Bits are small. History [sic] a[i]"
