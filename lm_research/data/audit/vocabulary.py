"""Vocabulary growth, rank and frequency, diversity, compression.

Heaps' law: types(N) = K N^beta, N tokens read. Zipf's law: frequency(r) = C r^-s, r the rank. Both
are fitted by least squares in logarithms, at points that are evenly spaced there; Zipf over the
ranks whose words occur at least twice, since the tail of hapaxes is a step, not a line.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

POINTS = 40
BLOCK = 1000
"""Tokens of the blocks whose type-token ratios are averaged: the ratio falls with length."""
LEVEL = 9


def growth(tokens: Sequence[str]) -> dict[str, Any]:
    """Heaps: ``points`` (tokens read, different ones), ``K``, ``beta``; None where not fitted."""
    seen: set[str] = set()
    types_N = np.empty(len(tokens), np.int64)
    for place, token in enumerate(tokens):
        seen.add(token)
        types_N[place] = len(seen)
    places = _spaced(len(tokens))
    points = [[int(n), int(types_N[n - 1])] for n in places]
    slope, intercept = _line([p for p in points if p[0] >= 10])
    k = None if intercept is None else float(np.exp(intercept))
    return {"points": points, "K": k, "beta": slope}


def ranks(counts: Counter[str]) -> dict[str, Any]:
    """Zipf: ``points`` (rank, occurrences), and the exponent ``s``; None where not fitted."""
    sizes = sorted(counts.values(), reverse=True)
    points = [[int(r), int(sizes[r - 1])] for r in _spaced(len(sizes))]
    slope, _ = _line([point for point in points if point[1] >= 2])
    return {"points": points, "s": None if slope is None else -slope}


def _spaced(most: int) -> list[int]:
    """Whole numbers from 1 to ``most``, evenly spaced in logarithms."""
    if most < 1:
        return []
    return sorted({int(n) for n in np.geomspace(1, most, POINTS).round()})


def _line(points: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Slope and intercept of the natural logarithms."""
    if len(points) < 3:
        return None, None
    x_N, y_N = np.log(np.array(points, float)).T
    slope, intercept = np.polyfit(x_N, y_N, 1)
    return float(slope), float(intercept)


def diversity(tokens: Sequence[str]) -> dict[str, Any]:
    """Type-token ratio of the whole, and its mean over whole blocks of 1,000 tokens."""
    blocks = [tokens[i : i + BLOCK] for i in range(0, len(tokens) - BLOCK + 1, BLOCK)]
    ratios = [len(set(block)) / BLOCK for block in blocks]
    return {
        "tokens": len(tokens),
        "types": len(set(tokens)),
        "type_token_ratio": len(set(tokens)) / len(tokens) if tokens else None,
        "block": BLOCK,
        "type_token_ratio_block": float(np.mean(ratios)) if ratios else None,
    }


def compression(texts: Sequence[str]) -> float | None:
    """Bytes over bytes after zlib at level 9, the texts joined by newlines."""
    packer = zlib.compressobj(LEVEL)
    size = packed = 0
    for text in texts:
        data = text.encode("utf-8", "replace") + b"\n"
        size += len(data)
        packed += len(packer.compress(data))
    packed += len(packer.flush())
    return size / packed if size else None
