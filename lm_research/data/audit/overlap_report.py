"""Contamination of evaluation sets by training sources, as plain JSON values.

The training side's units go to a file once and are read in pieces after that, so that memory holds
the evaluation side and one piece.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lm_research.data.ngrams import EvaluationSide, Piece, Windows, gathered
from lm_research.text.units import unit_hashes

SIZES = (8, 13)
"""PaLM's n and GPT-3's."""
MOSTLY = 0.7
SHOWN = 400


class Spooled:
    """Units of documents in a file of their own: four bytes each.

    Args:
        units: hashes of each document's units.
        folder: for the file.
    """

    def __init__(self, units: Iterable[np.ndarray], folder: Path) -> None:
        lengths = []
        self.file = folder / "units.bin"
        with self.file.open("wb") as file:
            for one in units:
                file.write(one.astype(np.uint32).tobytes())
                lengths.append(len(one))
        self.lengths_D = np.array(lengths, np.int64)

    def pieces(self) -> Iterator[Piece]:
        """The documents, from the first, in pieces."""
        if not self.lengths_D.sum():
            return
        units_N = np.memmap(self.file, np.uint32, "r")
        ends_D = np.cumsum(self.lengths_D)
        each = (
            np.asarray(units_N[end - length : end])
            for end, length in zip(ends_D, self.lengths_D, strict=True)
        )
        yield from gathered(each)


def contamination(
    train: dict[str, Callable[[], Iterable[str]]],
    evaluate: dict[str, Callable[[], Iterable[str]]],
    tell: Callable[[str, int], None] = lambda what, documents: None,
    sizes: Sequence[int] = SIZES,
) -> dict[str, Any]:
    """``pairs``: one row for each training source, evaluation set and n; ``longest``: the text.

    Args:
        train, evaluate: name -> gives the texts, from the first.
        tell: what is being done, for a progress bar.
        sizes: the n.
    """
    pairs, longest = [], []
    sides = {}
    for name, texts in evaluate.items():
        tell(f"reading {name}", 0)
        sides[name] = EvaluationSide(map(unit_hashes, texts()))
    for name, texts in train.items():
        tell(f"reading {name}", 0)
        with TemporaryDirectory(prefix="lm-research-") as folder:
            spooled = Spooled(map(unit_hashes, texts()), Path(folder))
            for other, side in sides.items():
                tell(f"{name} in {other}", 0)
                length, where = side.longest(spooled.pieces)
                shown = _text(evaluate[other], where)
                longest.append(
                    {"train": name, "evaluate": other, "units": length, "longest_text": shown}
                )
                rows = [_row(side, spooled, n) for n in sizes]
                pairs += [
                    {"train": name, "evaluate": other, **row, "longest_match": length}
                    for row in rows
                ]
    return {"train": list(train), "evaluate": list(evaluate), "pairs": pairs, "longest": longest}


def _row(side: EvaluationSide, spooled: Spooled, n: int) -> dict[str, Any]:
    own, shared_N = side.shared(spooled.pieces(), n)
    documents, tokens = len(side.lengths_D), len(side.units_N)
    some_D, most_D = _documents(own, shared_N, documents)
    return {
        "n": n,
        "documents": documents,
        "tokens": tokens,
        "contaminated_documents": int(some_D.sum()),
        "documents_percent": _percent(int(some_D.sum()), documents),
        "mostly_percent": _percent(int(most_D.sum()), documents),
        "tokens_percent": _percent(side.covered(own, shared_N, n), tokens),
    }


def _documents(own: Windows, shared_N: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which documents share any window, and which at least 70 % of theirs."""
    all_D = np.bincount(own.documents_N, minlength=count)
    shared_D = np.bincount(own.documents_N[shared_N], minlength=count)
    return shared_D > 0, (shared_D >= MOSTLY * all_D) & (shared_D > 0)


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _text(texts: Callable[[], Iterable[str]], where: int) -> str:
    """The beginning of a document; empty if there is none."""
    with suppress(StopIteration):
        if where >= 0:
            text = next(text for place, text in enumerate(texts()) if place == where)
            return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return ""
