"""What the licences of sources ask for, and where they cannot be kept together.

A table of common SPDX identifiers and a few rules, to point at what has to be read: no legal
advice. Whether training on a text, or handing out a model, is a use that a licence binds differs by
country.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any


@dataclass(frozen=True)
class Terms:
    """What a licence asks: ``share_alike`` names the family that derived works stay in."""

    attribution: bool = True
    commercial: bool = True
    derivatives: bool = True
    share_alike: str | None = None


_FREE, _BY = Terms(attribution=False), Terms()
KNOWN: dict[str, Terms] = {
    **dict.fromkeys(["CC0-1.0", "PDDL-1.0", "Unlicense", "0BSD", "MIT-0", "CC-PDDC"], _FREE),
    **dict.fromkeys(
        ["CC-BY-3.0", "CC-BY-4.0", "ODC-By-1.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC",
         "Apache-2.0", "PSF-2.0", "Python-2.0", "Zlib", "CDLA-Permissive-2.0"], _BY,
    ),
    **dict.fromkeys(["CC-BY-SA-3.0", "CC-BY-SA-4.0"], Terms(share_alike="CC-BY-SA")),
    "CC-BY-NC-4.0": Terms(commercial=False),
    "CC-BY-NC-3.0": Terms(commercial=False),
    **dict.fromkeys(
        ["CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"], Terms(commercial=False, share_alike="CC-BY-NC-SA")
    ),
    "CC-BY-ND-4.0": Terms(derivatives=False),
    "CC-BY-NC-ND-4.0": Terms(commercial=False, derivatives=False),
    "ODbL-1.0": Terms(share_alike="ODbL"),
    **dict.fromkeys(["GPL-2.0-only", "GPL-2.0"], Terms(share_alike="GPL-2.0")),
    **dict.fromkeys(["GPL-3.0-only", "GPL-3.0-or-later", "GPL-3.0", "GPL-2.0-or-later"],
                    Terms(share_alike="GPL-3.0")),
    **dict.fromkeys(["AGPL-3.0-only", "AGPL-3.0-or-later"], Terms(share_alike="AGPL-3.0")),
    "GFDL-1.3": Terms(share_alike="GFDL"),
    "MPL-2.0": Terms(share_alike="MPL-2.0"),
}  # fmt: skip
"""SPDX identifier -> terms."""
_COMPATIBLE = ({"CC-BY-SA", "GPL-3.0"}, {"GPL-3.0", "AGPL-3.0"}, {"MPL-2.0", "GPL-3.0"})
"""Families that may be joined (in one direction): by their own texts, or by CC's declaration."""
_IDENTIFIER = re.compile(
    "|".join(
        f"(?<![\\w.-]){re.escape(name)}(?![\\w-]|\\.\\d)" for name in sorted(KNOWN, key=len)[::-1]
    )
)


_REMARK = re.compile(r"\([^()]*\)")
_JOINTS = re.compile(r"\b(?:AND|OR|and|or)\b|[,()]")
_NO_COMMERCE = re.compile(r"non-?\s?commercial|not\s+(?:be\s+)?commercial", re.IGNORECASE)


def terms_of(licence: str) -> dict[str, Any]:
    """The identifiers of an SPDX expression and the strictest of their terms.

    ``A OR B`` leaves a choice, which is not made here: the strictest is taken, and said. What
    follows a semicolon or stands in brackets is a remark. A sentence is not understood, whatever
    identifiers it names (they may be those of a package around the text); only that it forbids
    commerce is, in the usual words.
    """
    names = _identifiers(licence.partition(";")[0])
    forbidden = False if _NO_COMMERCE.search(licence) else None
    found = [KNOWN[name] for name in names]
    return {
        "licence": licence,
        "identifiers": names,
        "known": bool(names),
        "attribution": any(t.attribution for t in found) if found else None,
        "commercial": all(t.commercial for t in found) if found else forbidden,
        "derivatives": all(t.derivatives for t in found) if found else None,
        "share_alike": sorted({t.share_alike for t in found if t.share_alike}),
    }


def _identifiers(line: str) -> list[str]:
    for read in (line, _REMARK.sub(" ", line)):
        if not _JOINTS.sub("", _IDENTIFIER.sub("", read)).strip():
            return list(dict.fromkeys(_IDENTIFIER.findall(read)))
    return []


def conflicts(licences: Mapping[str, str]) -> list[str]:
    """Sentences on what a mixture of these sources (name -> licence) has to mind."""
    terms = {name: terms_of(licence) for name, licence in licences.items()}
    told = []
    if unknown := [name for name, one in terms.items() if not one["known"]]:
        told.append(f"{_list(unknown)}: no licence that is known here; read the terms.")
    if bound := [name for name, one in terms.items() if one["commercial"] is False]:
        told.append(f"{_list(bound)}: non-commercial, and so is a mixture that holds it.")
    if fixed := [name for name, one in terms.items() if one["derivatives"] is False]:
        told.append(
            f"{_list(fixed)}: no derivatives, so that a cleaned or mixed form may not be shared."
        )
    for (a, first), (b, second) in combinations(terms.items(), 2):
        told += _pair(a, first, b, second)
    return told


def _pair(a: str, first: dict[str, Any], b: str, second: dict[str, Any]) -> list[str]:
    told = [
        f"{a} ({x}) and {b} ({y}): each asks that the whole stay under its own terms."
        for x in first["share_alike"]
        for y in second["share_alike"]
        if x != y and {x, y} not in _COMPATIBLE
    ]
    for (name, own), (other, theirs) in (((a, first), (b, second)), ((b, second), (a, first))):
        if own["share_alike"] and own["commercial"] and theirs["commercial"] is False:
            told.append(
                f"{name} is share-alike and allows commerce, {other} forbids it: "
                "what mixes the two cannot be shared under both."
            )
    return told


def _list(names: list[str]) -> str:
    return ", ".join(names)
