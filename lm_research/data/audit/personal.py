"""Personal data by its form: counted, never shown.

What counts is what the rules of ``text.personal`` would mask. Forms are not facts: an address may
be an example, a number a part's. Names, which have no form, are not found.
"""

import re

from lm_research.text.cleaning import MaskEmails
from lm_research.text.personal import (
    MaskCreditCards,
    MaskIpAddresses,
    MaskPhoneNumbers,
    MaskResidentIds,
    MaskSocialSecurityNumbers,
)

RULES = {
    "telephone numbers": MaskPhoneNumbers(),
    "IP addresses": MaskIpAddresses(),
    "US social security numbers": MaskSocialSecurityNumbers(),
    "Chinese identity numbers": MaskResidentIds(),
    "payment card numbers": MaskCreditCards(),
}
"""Kind -> the rule that would mask it."""
_ANY = re.compile(r"@|:[0-9a-fA-F]|\d(?:[ ().-]{0,2}\d){3}")
"""Without a match of this there is none of any kind: most texts need no more."""


def personal_counts(text: str) -> dict[str, int]:
    """Kind -> occurrences in one text, those found alone."""
    if not _ANY.search(text):
        return {}
    found = {"e-mail addresses": sum(1 for _ in MaskEmails.pattern.finditer(text))}
    for kind, rule in RULES.items():
        found[kind] = sum(rule.accepts(match[0]) for match in rule.pattern.finditer(text))
    return {kind: count for kind, count in found.items() if count}
