import json
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.cleaning import (
    Cleaner,
    CollapseWhitespace,
    LengthFilter,
    LowerCase,
    MaskEmails,
    MaskNumbers,
    MaskUrls,
    NormalizeUnicode,
    RemoveControlCharacters,
    ReplacePattern,
)
from lm_research.text.markup import RemoveMarkup

MEGABYTE = 1_000_000


@given(st.text(), st.sampled_from(["NFC", "NFKC", "NFD", "NFKD"]))
def test_normalization_is_that_of_the_standard_library(text, form):
    assert NormalizeUnicode(form)(text) == unicodedata.normalize(form, text)


def test_an_unknown_normal_form_is_named():
    with pytest.raises(ValueError, match="'NFX'; it must be NFC, NFKC, NFD or NFKD"):
        NormalizeUnicode("NFX")


def test_control_characters_go_and_format_characters_stay():
    rule = RemoveControlCharacters()
    assert rule("\ufeffa\x00b\tc\r\nd\x7fe\ufffef\U0001ffff") == "ab\tc\r\ndef"
    family, hebrew = "👩\u200d👧", "\u200fשלום\u200e"
    assert rule(family + hebrew) == family + hebrew
    assert rule("a\ufeffb") == "a\ufeffb"


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert RemoveControlCharacters()("a\ud83db") == "a\ufffdb"


def test_white_space():
    text = "  one \t two\r\nthree \n four\u00a0five\r\n\r\n\r\nsix\u2028seven \n"
    assert CollapseWhitespace()(text) == "one two\nthree\nfour five\n\nsix seven"
    assert CollapseWhitespace(keep_line_breaks=False)(text) == "one two three four five six seven"


@given(st.text(alphabet="a \t\r\n\u00a0"))
def test_collapsing_twice_changes_nothing_more(text):
    rule = CollapseWhitespace()
    assert rule(rule(text)) == rule(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("see http://a.org/x?y=1&z=2#q, then", "see <url>, then"),
        ("(https://en.wikipedia.org/wiki/Bit).", "(<url>)."),
        ("HTTP://A.B and www.example.com!", "<url> and <url>!"),
        ("看http://t.cn/abc吧", "看<url>吧"),
        ("http:// and xhttp://a.b stay", "http:// and xhttp://a.b stay"),
    ],
)
def test_urls(text, masked):
    assert MaskUrls()(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@mail.example.co.uk.", "write to <email>."),
        ("<x@y.org>,z_1@y.org", "<<email>>,<email>"),
        ("a@b, @user, x@", "a@b, @user, x@"),
    ],
)
def test_emails(text, masked):
    assert MaskEmails()(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("1,234.5 or -7%", "N or -N%"),
        ("h264 x_1 3rd", "h264 x_1 Nrd"),
        ("2024年3月", "N年N月"),
        ("٣٤", "N"),
        ("1-2, 3.", "N-N, N."),
    ],
)
def test_numbers(text, masked):
    assert MaskNumbers("N")(text) == masked


def test_a_mask_is_taken_literally():
    assert MaskNumbers(r"\1\n")("7") == r"\1\n"


def test_a_pattern_of_ones_own_with_groups():
    assert ReplacePattern(r"(\w+)@(\w+)", r"\2 at \g<1>")("me@home") == "home at me"


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<x"])
def test_a_bad_pattern_is_named(pattern):
    with pytest.raises(ValueError, match="is no regular expression") as error:
        ReplacePattern(pattern, "")
    assert repr(pattern) in str(error.value)


def test_a_replacement_that_refers_to_no_group_is_named():
    with pytest.raises(ValueError, match=r"replacement '\\\\2' does not fit pattern '\(a\)'"):
        ReplacePattern("(a)", r"\2")


def test_length_limits():
    rule = LengthFilter(2, 3)
    assert [rule(text) for text in ("a", "ab", "日本語", "abcd")] == [None, "ab", "日本語", None]
    assert LengthFilter(0)("x" * 100) == "x" * 100
    with pytest.raises(ValueError, match="max_characters is 2, less than min_characters, 3"):
        LengthFilter(3, 2)


def test_rules_run_in_order_and_are_counted():
    cleaner = Cleaner([LowerCase(), MaskUrls("U"), LengthFilter(3)])
    texts = ["GÉO http://A.B", "ab", "abc"]
    assert [cleaner.clean(text) for text in texts] == ["géo U", None, "abc"]
    fields = ("name", "documents_in", "documents_changed", "documents_dropped")
    fields += ("bytes_in", "bytes_out")
    report = cleaner.report()
    assert [tuple(counts[f] for f in fields) for counts in report] == [
        ("lower_case", 3, 1, 0, 15 + 2 + 3, 15 + 2 + 3),
        ("mask_urls", 3, 1, 0, 15 + 2 + 3, 6 + 2 + 3),
        ("length_filter", 3, 0, 1, 6 + 2 + 3, 6 + 3),
    ]
    assert json.loads(json.dumps(report)) == report


def test_a_cleaner_without_rules_returns_the_text():
    text = "a\x00\ud800"
    assert Cleaner().clean(text) == text
    assert Cleaner().report() == []


@given(st.text())
def test_no_rule_fails_on_any_text(text):
    rules = [
        RemoveControlCharacters(),
        RemoveMarkup(),
        NormalizeUnicode("NFKC"),
        MaskUrls(),
        MaskEmails(),
        MaskNumbers(),
        CollapseWhitespace(),
        LowerCase(),
    ]
    Cleaner(rules).clean(text).encode("utf-8")


ADVERSARIAL = {
    "letters": "a" * MEGABYTE,
    "at_signs": "a@" * (MEGABYTE // 2),
    "domains": "a@" + "a." * (MEGABYTE // 2),
    "one_address_short": "a@" + "a-" * (MEGABYTE // 2),
    "schemes": "http://" * (MEGABYTE // 7),
    "scheme_and_dots": "http://" + "." * MEGABYTE,
    "www": "www." * (MEGABYTE // 4),
    "digits": "1" * MEGABYTE,
    "digits_and_points": "1." * (MEGABYTE // 2),
    "spaces": " " * MEGABYTE,
    "line_breaks": " \n" * (MEGABYTE // 2),
    "less_than": "<" * MEGABYTE,
    "open_tags": "<a " * (MEGABYTE // 3),
    "one_open_tag": "<a " + "b" * MEGABYTE,
    "quotes": "<a " + "\"'" * (MEGABYTE // 2),
    "quoted_tags": "<a \"'" * (MEGABYTE // 5),
    "comments": "<!--" * (MEGABYTE // 4),
    "scripts": "<script>" * (MEGABYTE // 8),
    "scripts_half_closed": "<script></script" * (MEGABYTE // 16),
    "ampersands": "&" * MEGABYTE,
    "character_reference": "&#" + "1" * MEGABYTE + ";",
    "entities": "&amp" * (MEGABYTE // 4),
    "marks": "a" + "\u0301\u0323" * (MEGABYTE // 4),
    "long_runs_of_marks": ("a" + "\u0301\u0323" * 128) * (MEGABYTE // 514),
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_a_megabyte_made_to_be_slow_is_not(text):
    rules = [
        RemoveControlCharacters(),
        NormalizeUnicode("NFD"),
        MaskUrls(),
        MaskEmails(),
        MaskNumbers(),
        RemoveMarkup(),
        CollapseWhitespace(),
    ]
    start = time.process_time()
    Cleaner(rules).clean(text)
    # Linear rules take well under a second; quadratic time would be minutes.
    assert time.process_time() - start < 5
