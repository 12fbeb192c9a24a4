"""Personal data by its form: counted, never shown.

Forms are not facts: an address may be an example, a number a part's. Names, which have no form, are
not found. Numbers with a check digit count only where it is right.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address

from lm_research.text.cleaning import MaskEmails

_DIGIT = r"(?<![\w.+-])"
_END = r"(?![\w-]|\.\d)"
_PHONE = re.compile(
    rf"(?:(?<![\w.+-])\+\d{{1,3}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}"
    rf"|(?<![\w.+-])\(\d{{3}}\) ?\d{{3}}[ .-]\d{{4}}|{_DIGIT}\d{{3}}[.-]\d{{3}}[.-]\d{{4}}"
    rf"|(?<!\d)1[3-9]\d{{9}}(?!\d)|(?<!\d)0\d{{2,3}}-\d{{7,8}}(?!\d)){_END}"
)
_IPV4 = re.compile(rf"{_DIGIT}(?:\d{{1,3}}\.){{3}}\d{{1,3}}{_END}")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){4,7}(?![\w:])")
_SSN = re.compile(rf"{_DIGIT}(?!000|666|9\d\d)\d{{3}}-(?!00)\d{{2}}-(?!0000)\d{{4}}{_END}")
_CHINESE_ID = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:18|19|20)\d{9}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(rf"{_DIGIT}[3-6]\d{{3}}(?:[ -]?\d{{4}}){{2}}[ -]?\d{{3,4}}{_END}")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_chinese_id(text: str) -> bool:
    """GB 11643: the last of 18 characters checks the others (ISO 7064, MOD 11-2)."""
    total = sum(int(d) * w for d, w in zip(text, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == text[17].upper()


def is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812)."""
    digits = [int(c) for c in text if c.isdigit()][::-1]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)]
    return sum(doubled) % 10 == 0


_Check = Callable[[str], bool]
KINDS: dict[str, tuple[re.Pattern[str], _Check]] = {
    "e-mail addresses": (MaskEmails.pattern, lambda text: True),
    "telephone numbers": (_PHONE, lambda text: 7 <= sum(c.isdigit() for c in text) <= 15),
    "IP addresses": (re.compile(f"{_IPV4.pattern}|{_IPV6.pattern}"), _is_address),
    "US social security numbers": (_SSN, lambda text: True),
    "Chinese identity numbers": (_CHINESE_ID, is_chinese_id),
    "payment card numbers": (_CARD, is_card),
}
"""Kind -> the form, and what else has to hold."""
_ANY = re.compile(r"@|:[0-9a-fA-F]|\d(?:[ ().-]{0,2}\d){3}")
"""Without a match of this there is none of any kind: most texts need no more."""


def personal_counts(text: str) -> dict[str, int]:
    """Kind -> occurrences in one text, those found alone."""
    if not _ANY.search(text):
        return {}
    found = {
        kind: sum(check(match[0]) for match in pattern.finditer(text))
        for kind, (pattern, check) in KINDS.items()
    }
    return {kind: count for kind, count in found.items() if count}
