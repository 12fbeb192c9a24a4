"""Masks of what identifies a person: phone numbers, addresses of machines, cards, documents.

E-mail addresses are `cleaning.MaskEmails`. Order matters: documents and cards before phone numbers,
all before `cleaning.MaskNumbers`. Patterns are bounded and begin at the start of a run of their
characters alone, so that they take time linear in the text; checksums are looked at where there are
some. What no pattern tells (names, addresses of homes) stays.
"""

import ipaddress
import re
from abc import abstractmethod
from typing import ClassVar

from lm_research.text.cleaning import Rule


class _Checked(Rule):
    """Replaces the matches of a pattern that pass a closer look."""

    pattern: ClassVar[re.Pattern[str]]

    def __init__(self, replacement: str) -> None:
        self.replacement = replacement

    @abstractmethod
    def accepts(self, found: str) -> bool:
        """Whether a match is meant."""

    def __call__(self, text: str) -> str:
        """The text with what is meant replaced."""
        return self.pattern.sub(self._masked, text)

    def _masked(self, match: re.Match[str]) -> str:
        return self.replacement if self.accepts(match[0]) else match[0]


class MaskResidentIds(_Checked):
    """Replaces Chinese resident identity numbers (GB 11643): 17 digits and a check digit or X.

    Region, birth date and the checksum (ISO 7064, MOD 11-2) must be possible ones.
    """

    name = "mask_resident_ids"
    pattern = re.compile(
        r"(?<![0-9A-Za-z])[1-8][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])"
        r"(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9A-Za-z])"
    )

    def __init__(self, replacement: str = "<resident_id>") -> None:
        super().__init__(replacement)

    def accepts(self, found: str) -> bool:
        """Whether the last character is the check digit of the others."""
        total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(found[:17]))
        return "10X98765432"[total % 11] == found[17].upper()


class MaskCreditCards(_Checked):
    """Replaces card numbers: 13 to 19 digits, single spaces or hyphens between, Luhn-checked.

    They begin as those of the large networks do, with 2 to 6 (ISBNs and EANs begin with 9).
    """

    name = "mask_credit_cards"
    pattern = re.compile(
        r"(?<![0-9A-Za-z.,])(?<![0-9][ -])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}+"
        r"(?![0-9A-Za-z]|[ -][0-9])"
    )

    def __init__(self, replacement: str = "<credit_card>") -> None:
        super().__init__(replacement)

    def accepts(self, found: str) -> bool:
        """Whether the digits pass the test of Luhn (ISO/IEC 7812-1), and are not all the same."""
        digits = [int(c) for c in found if c.isdigit()][::-1]
        doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
        return (sum(digits[::2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


class MaskSocialSecurityNumbers(_Checked):
    """Replaces social security numbers of the USA, written 123-45-6789.

    None has an area of 000, 666 or 900 to 999, a group of 00 or a serial number of 0000.
    """

    name = "mask_social_security_numbers"
    pattern = re.compile(r"(?<![0-9A-Za-z-])[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}(?![0-9A-Za-z]|-[0-9])")

    def __init__(self, replacement: str = "<ssn>") -> None:
        super().__init__(replacement)

    def accepts(self, found: str) -> bool:
        """Whether its parts are ones that are given out."""
        area, group, serial = found.split("-")
        return area not in ("000", "666") and group != "00" and serial != "0000"


class MaskIpAddresses(_Checked):
    """Replaces addresses of the internet protocol, versions 4 and 6.

    A version's number of four parts looks the same; after "v", "version", "release", "build" or
    版本 it stays. Of version 6, only what has a digit and at least four characters.
    """

    name = "mask_ip_addresses"
    pattern = re.compile(
        r"(?<![0-9A-Za-z_.:-])(?<!version )(?<!release )(?<!build )(?<!版本)"
        r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_-]|\.[0-9])"
        r"|(?=[0-9A-F]{0,4}:)[0-9A-F:]{4,39}+(?:\.[0-9]{1,3}){0,3}+(?![0-9A-Za-z_:]))",
        re.IGNORECASE,
    )

    def __init__(self, replacement: str = "<ip>") -> None:
        super().__init__(replacement)

    def accepts(self, found: str) -> bool:
        """Whether the standard library can read it."""
        if not any(map(str.isdigit, found)):
            return False
        try:
            ipaddress.ip_address(found)
        except ValueError:
            return False
        return True


class MaskPhoneNumbers(_Checked):
    """Replaces phone numbers: international ones, those of the USA, and Chinese ones.

    - International: a plus sign, then 8 to 15 digits (ITU-T E.164) with single spaces, hyphens,
      dots, or brackets between.
    - USA and Canada: (212) 555-0123, 212-555-0123, 212.555.0123, 212 555 0123, also after "1-";
      area and exchange begin with 2 to 9.
    - China: mobile numbers of 11 digits that begin with 13 to 19, also in groups of 3, 4 and 4;
      landlines with their area: 010-62791234, (021)62791234, 0571 8888 6666.

    Plain digits of any other form stay.
    """

    name = "mask_phone_numbers"
    _INTERNATIONAL = r"\+[1-9][0-9]{0,2}(?:[ .-]?(?:[0-9]{1,5}|\([0-9]{1,5}\))){2,6}+"
    _AMERICAN = r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    _MOBILE = r"1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -][0-9]{4})"
    _LANDLINE = (
        r"(?:\(0[1-9][0-9]{1,2}\) ?|（0[1-9][0-9]{1,2}） ?|0[1-9][0-9]{1,2}[ -])"
        r"[2-9][0-9]{2,3} ?[0-9]{4}"
    )
    pattern = re.compile(
        r"(?<![0-9A-Za-z+])(?<![0-9][.,/ -])(?<![$€£¥])(?:"
        + f"{_INTERNATIONAL}|{_AMERICAN}|{_MOBILE}|{_LANDLINE}"
        + r")(?![0-9A-Za-z]|[.,/-][0-9])"
    )

    def __init__(self, replacement: str = "<phone>") -> None:
        super().__init__(replacement)

    def accepts(self, found: str) -> bool:
        """Whether it has as many digits as a number of its kind."""
        digits = sum(map(str.isdigit, found))
        return not found.startswith("+") or 8 <= digits <= 15


class MaskPassports(Rule):
    """Replaces passport numbers: those of China, and any that the word for it comes before.

    - China: E, G, D, S, P or H and 8 digits, or E, a letter and 7 digits.
    - Others: up to two letters and 6 to 9 digits within 24 characters after "passport" or 护照.

    Part numbers and the like may have the same form; not for everybody.
    """

    name = "mask_passports"
    pattern = re.compile(
        r"(?<![0-9A-Za-z])(?:[EGDSPH][0-9]{8}|E[A-HJ-NP-Z][0-9]{7})(?![0-9A-Za-z])"
        r"|(?P<before>(?:\b[Pp]assport|护照)[^\n0-9]{0,24}?(?<![0-9A-Za-z]))"
        r"[A-Z]{0,2}[0-9]{6,9}(?![0-9A-Za-z])"
    )

    def __init__(self, replacement: str = "<passport>") -> None:
        self.replacement = replacement

    def __call__(self, text: str) -> str:
        """The text with them replaced."""
        return self.pattern.sub(lambda match: (match["before"] or "") + self.replacement, text)
