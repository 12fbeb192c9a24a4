import unicodedata

import pytest

from lm_research.text.chinese_forms import ConvertChinese, FullWidthToHalfWidth


def test_letters_digits_and_symbols_become_ascii():
    rule = FullWidthToHalfWidth()
    assert rule("ＡＢＣ１２３％，你好！（ｏｋ）　①²ﬁ") == "ABC123%，你好！（ok） ①²ﬁ"
    assert FullWidthToHalfWidth(punctuation=True)("你好！（ｏｋ），？：；") == "你好!(ok),?:;"


def test_it_is_a_part_of_nfkc():
    wide = "".join(map(chr, [*range(0xFF01, 0xFF5F), 0x3000]))
    assert FullWidthToHalfWidth(punctuation=True)(wide) == unicodedata.normalize("NFKC", wide)


@pytest.mark.parametrize(
    ("direction", "text", "converted"),
    [
        ("t2s", "頭髮與發展，後來皇后乾杯", "头发与发展，后来皇后干杯"),
        ("s2t", "头发与发展", "頭髮與發展"),
        ("s2twp", "软件和鼠标", "軟體和滑鼠"),
        ("tw2sp", "軟體和滑鼠", "软件和鼠标"),
    ],
)
def test_simplified_and_traditional(direction, text, converted):
    assert ConvertChinese(direction)(text) == converted


def test_ascii_is_left_alone():
    assert ConvertChinese()("plain") == "plain"


def test_an_unknown_direction_is_named():
    with pytest.raises(ValueError, match="direction is 'x2y'; it must be one of"):
        ConvertChinese("x2y")


def test_a_missing_package_names_the_fix(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lm-research\[zh\]'"):
        ConvertChinese()
