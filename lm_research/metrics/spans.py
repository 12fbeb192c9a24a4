"""Spans that tags mark word by word (chunks, names), and how many of them are found.

Tags are IOB2: ``B-X`` begins a span of kind X, ``I-X`` goes on with it, ``O`` is outside. A tag
``I-X`` that nothing of kind X stands before begins a span, too, as the scorer of CoNLL-2000
(``conlleval``) has it, so that every sequence of tags means something.

A predicted span is right if a true one has its beginning, end and kind. Precision is the share of
the predicted spans that are right, recall of the true ones that are found, F1 their harmonic mean;
0/0 is 0. They are over all spans of a split (micro averages).
"""

from collections.abc import Iterable, Sequence

Span = tuple[int, int, str]
"""First word, the one after the last, kind."""


def is_iob(tags: Iterable[str]) -> bool:
    """Whether these are tags of spans: ``B-...``, ``I-...`` and ``O`` alone, with a beginning."""
    names = list(tags)
    spans = all(tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2) for tag in names)
    return spans and any(tag.startswith("B-") for tag in names)


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence, in order."""
    found: list[Span] = []
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if kind and (mark != "I" or name != kind):
            found.append((start, place, kind))
            kind = ""
        if mark in ("B", "I") and not kind:
            start, kind = place, name
    return found


def span_scores(
    true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> dict[str, float]:
    """``precision_span``, ``recall_span`` and ``f1_span`` over sentences of tags."""
    hits = there = given = 0
    for true_tags, predicted_tags in zip(true, predicted, strict=True):
        right, said = set(spans(true_tags)), set(spans(predicted_tags))
        hits, there, given = hits + len(right & said), there + len(right), given + len(said)
    return {
        "precision_span": hits / max(given, 1),
        "recall_span": hits / max(there, 1),
        "f1_span": 2 * hits / max(given + there, 1),
    }
