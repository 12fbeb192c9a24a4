"""How differently sources distribute their words, or their bytes.

The Jensen-Shannon divergence of two distributions p and q, with m = (p + q) / 2:

    JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2,    in bits: 0 for equal ones, 1 for disjoint ones.

Distributions are relative frequencies in the sample, over units (``text.units``) or over pairs of
neighbouring bytes. Frequencies of a finite sample always differ, so the estimate is too high, the
more so the smaller the sample: the diagonal holds the divergence between two random halves of the
same source, which is what no difference would look like at half the sample's size. The intervals
are basic bootstrap intervals over documents (2 theta - quantiles), which take that bias off once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lm_research.text.units import unit_hashes

RESAMPLES = 200
LEVEL = 0.95
Over = Literal["words", "bytes"]


def jensen_shannon(p_V: np.ndarray, q_V: np.ndarray) -> float:
    """In bits, of two vectors of non-negative weights, each divided by its sum.

    Raises:
        ValueError: one of them is all zero.
    """
    if not (p_V.sum() > 0 and q_V.sum() > 0):
        raise ValueError("a distribution needs a positive sum")
    p_V, q_V = p_V / p_V.sum(), q_V / q_V.sum()
    return max(_entropy((p_V + q_V) / 2) - (_entropy(p_V) + _entropy(q_V)) / 2, 0.0)


def _entropy(p_V: np.ndarray) -> float:
    held = p_V[p_V > 0]
    return float(-(held * np.log2(held)).sum())


@dataclass(frozen=True)
class Counted:
    """Sparse counts of one source's documents: a scipy CSR matrix [documents, V]."""

    matrix: Any

    def sums(self, weights_D: np.ndarray) -> np.ndarray:
        """Counts over documents, each taken so many times."""
        return np.asarray(weights_D @ self.matrix).ravel()


def divergences(
    texts: Mapping[str, Sequence[str]], over: Over, seed: int, resamples: int = RESAMPLES
) -> list[dict[str, Any]]:
    """Each pair of sources, and each with itself (its halves): ``bits``, ``low``, ``high``."""
    counted = _counted(texts, over)
    names = [name for name, one in counted.items() if one.matrix.sum() > 0]
    rng = np.random.default_rng(seed)
    whole = {name: counted[name].sums(np.ones(counted[name].matrix.shape[0])) for name in names}
    drawn: dict[tuple[str, str], list[float]] = {}
    for _ in range(resamples if len(names) > 1 else 0):
        again = {name: counted[name].sums(_weights(counted[name], rng)) for name in names}
        for first, second in _pairs(names):
            if again[first].any() and again[second].any():
                bits = jensen_shannon(again[first], again[second])
                drawn.setdefault((first, second), []).append(bits)
    halves = [_halves(name, counted[name], rng) for name in names]
    return halves + [_row(a, b, whole, drawn.get((a, b), [])) for a, b in _pairs(names)]


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]


def _row(
    first: str, second: str, whole: Mapping[str, np.ndarray], drawn: Sequence[float]
) -> dict[str, Any]:
    bits = jensen_shannon(whole[first], whole[second])
    row: dict[str, Any] = {"first": first, "second": second, "bits": bits, "low": None}
    row["high"] = None
    if drawn:
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        ends = np.clip([2 * bits - high, 2 * bits - low], 0.0, 1.0)
        row["low"], row["high"] = map(float, ends)
    return row


def _halves(name: str, one: Counted, rng: np.random.Generator) -> dict[str, Any]:
    count = one.matrix.shape[0]
    chosen = (rng.permutation(count) < count // 2).astype(float)
    first, second = one.sums(chosen), one.sums(1 - chosen)
    bits = jensen_shannon(first, second) if first.any() and second.any() else None
    return {"first": name, "second": name, "bits": bits, "low": None, "high": None}


def _weights(one: Counted, rng: np.random.Generator) -> np.ndarray:
    count = one.matrix.shape[0]
    return rng.multinomial(count, np.full(count, 1 / count)).astype(float)


def _counted(texts: Mapping[str, Sequence[str]], over: Over) -> dict[str, Counted]:
    from scipy.sparse import csr_matrix

    symbols = {name: [_symbols(text, over) for text in held] for name, held in texts.items()}
    flat = [one for held in symbols.values() for one in held]
    known = np.unique(np.concatenate([*flat, np.empty(0, np.int64)]))
    found = {}
    for name, held in symbols.items():
        ends = np.concatenate([[0], np.cumsum([len(one) for one in held])]).astype(np.int64)
        columns = np.searchsorted(known, np.concatenate([*held, np.empty(0, np.int64)]))
        ones = np.ones(len(columns))
        matrix = csr_matrix((ones, columns, ends), shape=(len(held), len(known)))
        matrix.sum_duplicates()
        found[name] = Counted(matrix)
    return found


def _symbols(text: str, over: Over) -> np.ndarray:
    if over == "words":
        return unit_hashes(text).astype(np.int64)
    data_N = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64)
    return data_N[:-1] * 256 + data_N[1:]
