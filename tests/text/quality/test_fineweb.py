"""FineWeb's thresholds on both sides, and the published steps on a small real sample."""

from itertools import islice

import pytest
import yaml

from lm_research.config.build import build
from lm_research.config.paths import shipped
from lm_research.text.cleaning import Cleaner, Drop
from lm_research.text.quality.fineweb import FineWebLines


def lines(*, punctuated: int, total: int, short: int = 0) -> str:
    found = []
    for i in range(total):
        line = f"{i:02}" + "x" * (26 if i < short else 27)
        found.append(line + ("." if i < punctuated else "x"))
    return "\n".join(found)


def test_lines_that_end_with_punctuation():
    assert FineWebLines()(lines(punctuated=12, total=100)) == Drop(
        "too few lines end with punctuation"
    )
    text = lines(punctuated=13, total=100)
    assert FineWebLines()(text) == text
    assert FineWebLines()("他说：“好。”\n这样下去不行！") == Drop("too many short lines")
    assert (
        FineWebLines(short_line=3)("他说：“好。”\n这样下去不行！") == "他说：“好。”\n这样下去不行！"
    )


def test_characters_in_duplicate_lines():
    other = "y" * 179 + "."
    assert FineWebLines(short_line=5)(f"{'x' * 20}\n{'x' * 20}\n{other}") != Drop("")
    nine = f"{'x' * 19}.\n{'x' * 19}.\n{'y' * 182}."  # 20 of 223
    assert FineWebLines()(nine + "\n") == nine + "\n"
    ten = f"{'x' * 19}.\n{'x' * 19}.\n{'y' * 159}."  # 20 of 200
    assert FineWebLines()(ten) == Drop("characters in duplicate lines")


def test_short_lines():
    assert FineWebLines()(lines(punctuated=100, total=100, short=67)) == Drop(
        "too many short lines"
    )
    text = lines(punctuated=100, total=100, short=66)
    assert FineWebLines()(text) == text


def test_no_line_at_all():
    assert FineWebLines()(" \n ") == Drop("no line")


@pytest.mark.parametrize("option", ["c4", "gopher", "fineweb"])
def test_most_news_pass_and_lists_and_code_do_not(option):
    steps = yaml.safe_load((shipped("conf") / "text" / f"{option}.yaml").read_text("utf-8"))
    cleaner = Cleaner(build(steps["cleaning"]))
    news = build(yaml.safe_load((shipped("conf") / "data" / "bbc_news.yaml").read_text("utf-8")))
    kept = [cleaner.clean(document.text) for document in islice(news, 50)]
    assert sum(map(bool, kept)) >= 45
    code = "import os\n\ndef f(x):\n    return {x: 1}\n" * 30
    menu = "Home\nAbout us\nContact\nProducts\nNews\nSite map\n" * 5
    assert not cleaner.clean(code)
    assert not cleaner.clean(menu)
    assert sum(count["documents_dropped"] for count in cleaner.report()) >= 1
