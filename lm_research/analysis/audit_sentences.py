"""What an audit comes to, in sentences: for the terminal and the head of the page."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Kind = Literal["real", "unclear", "plain"]
"""What has to be acted on, what has to be looked at, what is only told."""
SHOWN, NEAR_SHOWN = 8, 3


def sentences(found: Mapping[str, Any]) -> list[tuple[Kind, str]]:
    """(kind, sentence), leaks first."""
    parts = (_leaks, _mended, _repeats, _personal, _licences, _sizes)
    return [sentence for part in parts for sentence in part(found)]


def place(group: Mapping[str, str]) -> str:
    """ "NAME, train"."""
    return f"{group['source']}, {group['split']}"


def _leaks(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    rows = [row for row in found["overlap"] if row["leak"]]
    leaks = [row for row in rows if row["equal_texts"]]
    for row in leaks[:SHOWN]:
        first, second = place(row["first"]), place(row["second"])
        texts = _count(row["equal_texts"], "text")
        yield (
            "real",
            f"Leak: {texts} in both `{first}` and `{second}` "
            f"({_share(found, row['second'], row['second_documents'])} of the latter).",
        )
    if len(leaks) > SHOWN:
        yield "real", f"{len(leaks) - SHOWN} more leaks are in the table of copies."
    near = [row for row in rows if row["near_second"] > row["equal_texts"]]
    for row in near[:NEAR_SHOWN]:
        yield (
            "unclear",
            f"In the sample, {_count(row['near_second'], 'text')} of `{place(row['second'])}` "
            f"nearly equal to one of `{place(row['first'])}` (equal ones included).",
        )
    if len(near) > NEAR_SHOWN:
        more = len(near) - NEAR_SHOWN
        yield "unclear", f"{more} more pairs of splits have nearly equal texts: see the copies."
    if not any(row["equal_texts"] for row in rows):
        yield "plain", "No text is in two splits."


def _mended(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    """What training does about the leaks of public corpora, which the audit reads as published."""
    for name, row in found.get("mended", {}).items():
        documents = _count(row["documents"], "document")
        if row["leaks"] == "drop":
            yield (
                "plain",
                f"`{name}` is audited as published. Training leaves out {documents} of its "
                "training split that equal a held-out one but for white space "
                "(`data.leaks=drop`).",
            )
        else:
            yield (
                "real",
                f"`{name}`: training reads {documents} that equal a held-out one but for white "
                "space (`data.leaks=keep`, for published protocols; `drop` leaves them out).",
            )


def _share(found: Mapping[str, Any], group: Mapping[str, str], documents: int) -> str:
    of = found["sources"][group["source"]]["splits"][group["split"]]["documents"]
    return f"{documents:,} documents, {100 * documents / of:.1f} %"


def _repeats(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    repeated: dict[str, int] = {}
    for row in found["overlap"]:
        if row["first"] == row["second"]:
            source = row["first"]["source"]
            repeated[source] = repeated.get(source, 0) + row["first_documents"]
    for source, documents in repeated.items():
        if documents:
            told = _count(documents, "document")
            yield "unclear", f"`{source}` repeats texts within its splits, in {told}."


def _personal(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    for name, source in found["sources"].items():
        if source["personal"]:
            counts = ", ".join(f"{kind} {n:,}" for kind, n in source["personal"].items())
            yield "unclear", f"`{name}` has what looks like personal data: {counts}."


def _licences(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    for told in found["licences"]["conflicts"]:
        yield "unclear", f"Licences: {told}"


def _sizes(found: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    for name, source in found["sources"].items():
        splits = source["splits"].values()
        documents, size = (sum(s[key] for s in splits) for key in ("documents", "bytes"))
        sample = source["sample"]
        part = "" if sample["documents"] == documents else (
            f"; the sample holds {sample['documents']:,} documents, {sample['bytes'] / 1e6:.2f} MB"
        )  # fmt: skip
        yield "plain", f"`{name}`: {_count(documents, 'document')}, {size / 1e6:.2f} MB{part}."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
