"""Forms of Chinese text: full and half width, simplified and traditional characters."""

from typing import Any, Literal

from lm_research.text.cleaning import Rule

_FULL_WIDTH = {chr(c + 0xFEE0): chr(c) for c in range(0x21, 0x7F)}
_PUNCTUATION = frozenset("！，：；？（）［］｛｝")
Direction = Literal["t2s", "s2t", "tw2s", "s2tw", "tw2sp", "s2twp", "hk2s", "s2hk"]
DIRECTIONS = ("t2s", "s2t", "tw2s", "s2tw", "tw2sp", "s2twp", "hk2s", "s2hk")


class FullWidthToHalfWidth(Rule):
    """Turns full-width letters, digits, symbols and spaces into ASCII: ＡＢＣ１２３％ to ABC123%.

    Unicode calls them compatibility variants; NFKC folds them as well, but with them superscripts,
    ligatures, circled numbers and much else.

    Args:
        punctuation: also ！，：；？ and brackets, which are regular punctuation in Chinese text and
            are better left for most purposes.
    """

    name = "full_width_to_half_width"

    def __init__(self, punctuation: bool = False) -> None:
        self.punctuation = punctuation
        kept = frozenset() if punctuation else _PUNCTUATION
        self._table = {ord(k): v for k, v in _FULL_WIDTH.items() if k not in kept}
        self._table[0x3000] = " "

    def __call__(self, text: str) -> str:
        """The text with them in half width."""
        return text if text.isascii() else text.translate(self._table)


class ConvertChinese(Rule):
    """Converts between simplified and traditional characters, by OpenCC and its dictionaries.

    Phrases are matched, not characters alone: 头发 is 頭髮, 发展 is 發展.

    Args:
        direction: from and to: s simplified, t traditional (OpenCC's standard), tw Taiwan's, hk
            Hong Kong's; with p the words of the place as well (软件, 軟體).

    Raises:
        ValueError: for another direction.
        ModuleNotFoundError: if OpenCC is not installed.
    """

    name = "convert_chinese"

    def __init__(self, direction: Direction = "t2s") -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"direction is {direction!r}; it must be one of {DIRECTIONS}")
        try:
            import opencc
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "ConvertChinese needs OpenCC, which is not installed: pip install 'lm-research[zh]'"
            ) from error
        self.direction = direction
        self._converter: Any = opencc.OpenCC(direction)

    def __call__(self, text: str) -> str:
        """The converted text."""
        return text if text.isascii() else self._converter.convert(text)
