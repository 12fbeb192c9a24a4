"""What runs that write texts (translation, summarization) have left: texts, and attention.

``predictions.jsonl`` holds a row for each held-out document, ``attention.json`` a few of them with
the weights of each written token over the source's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_research.analysis.runs import Run, load_rows
from lm_research.config.untrusted import LARGEST_JSON, UntrustedError, load_json, read_plain

SPLIT = "validation"
MOST_TOKENS = 200
"""Of a text whose attention is drawn."""


@dataclass(frozen=True)
class Written:
    """The held-out documents of one run: equally long lists."""

    ids: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Attended:
    """One text: tokens of the source (S), tokens written (T), and weights (T rows of S)."""

    source: tuple[str, ...]
    written: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


def written_of(run: Run) -> Written | None:
    """What a run wrote of the validation documents; None if it writes none, or a row is damaged."""
    if "val/copy_rate" not in run.summary:
        return None
    rows = [r for r in load_rows(run.folder / "predictions.jsonl") if r.get("split") == SPLIT]
    names = ("id", "source", "target", "predicted")
    if not rows or not all(isinstance(row.get(name), str) for row in rows for name in names):
        return None
    return Written(*(tuple(row[name] for row in rows) for name in names))


def attention_of(run: Run) -> list[Attended]:
    """The texts whose attention a run has kept; none if there are none, or they are damaged."""
    if "val/copy_rate" not in run.summary:
        return []
    try:
        kept: Any = load_json(read_plain(run.folder / "attention.json", LARGEST_JSON))
        return [_attended(text) for text in kept["texts"]]
    except (OSError, UntrustedError, KeyError, TypeError, ValueError):
        return []


def _attended(text: Any) -> Attended:
    source, written = (tuple(str(t) for t in text[name]) for name in ("source", "written"))
    weights = tuple(tuple(float(w) for w in row) for row in text["weights"])
    sound = len(weights) == len(written) and all(len(row) == len(source) for row in weights)
    if not sound or not 0 < len(source) <= MOST_TOKENS or len(written) > MOST_TOKENS:
        raise ValueError("rows and tokens do not agree")
    return Attended(source, written, weights)


def same_documents(found: Sequence[Written]) -> bool:
    """Whether all of them are about the same documents."""
    return all((w.ids, w.targets) == (found[0].ids, found[0].targets) for w in found)
