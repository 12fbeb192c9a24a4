import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.sentences import split_sentences

CASES = [
    ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
    ("Dr. Smith met J. R. Jones. They spoke.", ["Dr. Smith met J. R. Jones.", "They spoke."]),
    ("It costs $3.50. Version 1.2.3 is out.", ["It costs $3.50.", "Version 1.2.3 is out."]),
    ("He lives in the U.S. The house is big.", ["He lives in the U.S.", "The house is big."]),
    ("In the U.S. Senate it failed.", ["In the U.S. Senate it failed."]),
    ('"Go!" he said. "Now."', ['"Go!" he said.', '"Now."']),
    ("Well... maybe. Yes... No.", ["Well... maybe.", "Yes...", "No."]),
    ("i like tea. you do, too.", ["i like tea.", "you do, too."]),
    ("See e.g. the list, etc. and so on.", ["See e.g. the list, etc. and so on."]),
    ("(It rained.) We left.", ["(It rained.)", "We left."]),
    ("A title\n\nA text\nwrapped.", ["A title", "A text\nwrapped."]),
    ("今天很好。我们去！真的？", ["今天很好。", "我们去！", "真的？"]),
    ("他说：“我走了。”然后走了。", ["他说：“我走了。”", "然后走了。"]),
    ("“好。”，他说。完了", ["“好。”，他说。", "完了"]),
    ("真的吗？！是的。。。", ["真的吗？！", "是的。。。"]),
    ("等等……算了。", ["等等……", "算了。"]),
    ("圆周率是3.14。对。", ["圆周率是3.14。", "对。"]),
    ("「你好。」（他笑了。）走吧。", ["「你好。」", "（他笑了。）", "走吧。"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "sentences"), CASES)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_line_breaks():
    assert split_sentences("A line\nanother one. And", line_breaks=True) == [
        "A line",
        "another one.",
        "And",
    ]


@given(st.text(alphabet='aB .!?…。！？”’"\n，1'))
def test_nothing_is_lost_but_white_space(text):
    for line_breaks in (False, True):
        joined = "".join(split_sentences(text, line_breaks))
        assert "".join(joined.split()) == "".join(text.split())


@pytest.mark.parametrize("unit", [".", ". ", "a.", "\n ", "。”", '."', "…", "A. ", " "])
def test_it_takes_linear_time(unit):
    start = time.process_time()
    split_sentences(unit * (100_000 // len(unit)))
    assert time.process_time() - start < 3
