"""Differences between two settings over evaluation documents: a paired bootstrap.

A test over seeds asks whether another training run would say the same; this one asks whether other
documents would. A run keeps, per evaluation, each document's negative log-likelihood and bytes in
``evaluations/GROUP.npz``, in the order of the text. Two runs pair document by document where the
digests of their texts are equal.
"""

import io
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lm_research.analysis.evaluated_text import evaluated_texts
from lm_research.analysis.runs import Run
from lm_research.analysis.statistics import RESAMPLED_AT_ONCE, Estimate
from lm_research.config.untrusted import LARGEST_JSON, UntrustedError, read_plain

FILES_KEPT = 512
"""Files held in memory: the best option's are compared with each of the others'."""
OWN = "val"
"""The evaluation on the training source's own held-out documents."""
Pair = tuple[Run, Run, str, str]
"""First and second run, and each one's evaluation: "val", or "eval/SOURCE"."""


@dataclass(frozen=True)
class Documents:
    """One run's scores on one text: ``nats_D`` (float64) and ``bytes_D`` (int64) by document."""

    digest: str
    nats_D: np.ndarray
    bytes_D: np.ndarray


@dataclass(frozen=True)
class DocumentDifference:
    """first - second in bits per byte, the mean over pairs of runs.

    Args:
        estimate: with the percentile interval over documents; ``n`` counts them.
        p: two-sided, from the same resamples: twice the share on the other side of 0.
    """

    estimate: Estimate
    p: float | None


def documents_of(run: Run, group: str) -> Documents | None:
    """A run's scores by document; ``None`` if not recorded, damaged or undefined.

    Args:
        group: "val", or "eval/SOURCE".
    """
    source = run.source if group == OWN else group.removeprefix("eval/")
    digest = evaluated_texts(run).get(source)
    path = run.folder / "evaluations" / f"{group.replace('/', '-')}.npz"
    if digest is None:
        return None
    try:
        state = path.lstat()
        nats_D, bytes_D = _arrays(path, state.st_mtime_ns, state.st_size)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, UntrustedError):
        return None
    whole = nats_D.ndim == 1 and nats_D.shape == bytes_D.shape and len(nats_D) > 0
    if not whole or not np.isfinite(nats_D).all() or (bytes_D < 0).any() or not bytes_D.sum():
        return None
    return Documents(digest, nats_D, bytes_D)


@lru_cache(maxsize=FILES_KEPT)
def _arrays(path: Path, changed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of an .npz in this state; one that would unpack to more is refused."""
    data = read_plain(path, LARGEST_JSON)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > len(data):
            raise ValueError("compressed")
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        nats_D, bytes_D = loaded["document_nats"], loaded["document_bytes"]
        return nats_D.astype(np.float64), bytes_D.astype(np.int64)


def document_difference(
    pairs: Iterable[Pair], level: float = 0.95, *, resamples: int = 9_999, seed: int = 0
) -> DocumentDifference | None:
    """Paired bootstrap over documents of a difference in bits per byte.

    For a text with documents d, s_d is the mean over pairs of nats_first(d) - nats_second(d); the
    difference is sum s_d / (ln 2 sum bytes_d), a ratio, so that long documents count as in bits per
    byte itself. Documents are drawn with replacement within their text (Koehn 2004 draws
    sentences); several texts are averaged, weighted by their numbers of pairs.

    Returns:
        ``None`` if no pair has both runs' documents on the same text, or any pair lacks them: a
        difference over other pairs than those compared by seed would answer something else.
    """
    by_text: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for first, second, group, other in pairs:
        a, b = documents_of(first, group), documents_of(second, other)
        if a is None or b is None or not _same_text(a, b):
            return None
        by_text.setdefault(a.digest, []).append((a.nats_D - b.nats_D, a.bytes_D))
    if not by_text:
        return None
    total = sum(map(len, by_text.values()))
    rng = np.random.default_rng(seed)
    centre, means_R, count = 0.0, np.zeros(resamples), 0
    for found in by_text.values():
        bits_D = np.mean([nats_D for nats_D, _ in found], axis=0) / math.log(2)
        bytes_D, weight = found[0][1], len(found) / total
        centre += weight * float(bits_D.sum() / bytes_D.sum())
        means_R += weight * _resampled(bits_D, bytes_D, resamples, rng)
        count += len(bits_D)
    return _difference(centre, count, means_R, level)


def document_interval(
    scored: Iterable[tuple[Run, str]], level: float = 0.95, *, resamples: int = 1_999, seed: int = 0
) -> Estimate | None:
    """Bits per byte, the mean over runs, with a percentile bootstrap interval over documents.

    The runs are as they are: per document their negative log-likelihoods are averaged, and
    sum s_d / (ln 2 sum bytes_d) is drawn anew as in :func:`document_difference`. With equal
    documents every call draws the same ones, so cells of one column share their luck.

    Args:
        scored: runs and each one's evaluation, all on one text.

    Returns:
        ``None`` if a run's documents are not recorded, or the texts are not one.
    """
    held: list[Documents] = []
    for run, group in scored:
        one = documents_of(run, group)
        if one is None or (held and not _same_text(held[0], one)):
            return None
        held.append(one)
    if not held:
        return None
    bytes_D = held[0].bytes_D
    bits_D = np.mean([one.nats_D for one in held], axis=0) / math.log(2)
    means_R = _drawn(bits_D, bytes_D, resamples, np.random.default_rng(seed))
    return _difference(float(bits_D.sum() / bytes_D.sum()), len(bits_D), means_R, level).estimate


def _drawn(
    bits_D: np.ndarray, bytes_D: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Resampled ratios; without SciPy, whose import a short run would notice at its end."""
    D, at_once = len(bits_D), max(1, RESAMPLED_AT_ONCE // len(bits_D))
    means = []
    for start in range(0, resamples, at_once):
        places_RD = rng.integers(0, D, (min(at_once, resamples - start), D))
        means.append(bits_D[places_RD].sum(axis=1) / bytes_D[places_RD].sum(axis=1))
    return np.concatenate(means)


def _same_text(first: Documents, second: Documents) -> bool:
    return first.digest == second.digest and np.array_equal(first.bytes_D, second.bytes_D)


def _resampled(
    bits_D: np.ndarray, bytes_D: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    from scipy.stats import bootstrap

    if len(bits_D) == 1:
        return np.full(resamples, bits_D[0] / bytes_D[0])
    return np.asarray(
        bootstrap(
            (bits_D, bytes_D),
            lambda bits, size, axis: bits.sum(axis=axis) / size.sum(axis=axis),
            paired=True, vectorized=True, method="percentile", n_resamples=resamples, rng=rng,
            batch=max(1, RESAMPLED_AT_ONCE // len(bits_D)),
        ).bootstrap_distribution
    )  # fmt: skip


def _difference(centre: float, count: int, means_R: np.ndarray, level: float) -> DocumentDifference:
    if count < 2:
        return DocumentDifference(Estimate(centre, count, level=level), None)
    low, high = np.quantile(means_R, [(1 - level) / 2, (1 + level) / 2])
    beyond = min(int((means_R <= 0).sum()), int((means_R >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(means_R)))
    estimate = Estimate(centre, count, low=float(low), high=float(high), level=level)
    return DocumentDifference(estimate, p)
