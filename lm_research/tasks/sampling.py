"""Choose next tokens from scores, many streams at once, each with draws of its own.

Shapes: R rows (streams), V vocabulary, K candidates (the most probable tokens).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm_research.tasks.evaluation import DivergenceError

FEW = 1024
"""So few scores are sorted before they are ready for anything faster."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Args:
        temperature: divides the log-probabilities; 0 takes the most probable token (greedy).
        top_k: draw among the k most probable tokens only; of equal ones, those of lower id.
        top_p: draw among the fewest tokens that hold this much probability (Holtzman et al. 2020),
            measured after temperature and top_k.
        seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "temperature": (0 <= self.temperature < math.inf, "at least 0 (0: greedy), and finite"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1, or null"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "within (0, 1], or null"),
        }
        for name, (sound, allowed) in rules.items():
            if not sound:
                raise ValueError(f"{name}={getattr(self, name)}: allowed is a number {allowed}")


def choose(scores_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One id; see :func:`choose_rows`."""
    return choose_rows(scores_V[None], [sampling], [generator])[0]


def choose_rows(
    scores_RV: Tensor, samplings: Sequence[Sampling], generators: Sequence[torch.Generator]
) -> list[int]:
    """An id for every row, which depends on no other row.

    Args:
        scores_RV: float32 or float64: log p (nats), up to a constant of each row.
        samplings, generators: of each row.

    Raises:
        DivergenceError: a row's largest score is not finite.
    """
    scores_RV = scores_RV.cpu()
    chosen_R = most_probable(scores_RV).numpy()
    groups: dict[tuple[int | None, float | None], list[int]] = {}
    for row, how in enumerate(samplings):
        if how.temperature:
            groups.setdefault((how.top_k, how.top_p), []).append(row)
    for (top_k, top_p), rows in groups.items():
        temperatures_R = np.array([samplings[row].temperature for row in rows])
        p_RK, ids_RK, counts_R = _candidates(scores_RV.numpy()[rows], temperatures_R, top_k, top_p)
        drawn_R = _drawn(p_RK, counts_R, [generators[row] for row in rows])
        chosen_R[rows] = ids_RK[np.arange(len(rows)), drawn_R]
    found: list[int] = chosen_R.tolist()
    return found


def most_probable(scores_RV: Tensor) -> Tensor:
    """ids_R; of equal tokens that of lowest id.

    Raises:
        DivergenceError: a row's largest score is not finite.
    """
    scores = scores_RV.cpu().numpy()  # whose argmax goes over vectors, which PyTorch's does not
    ids_R = scores.argmax(1)
    # One of NaN is the largest to numpy, so that one look a row sees any.
    if not math.isfinite(scores[np.arange(len(ids_R)), ids_R].sum()):
        raise DivergenceError(
            "the model's probabilities are not numbers (NaN): training diverged; lower "
            "optimizer.lr, or set trainer.gradient_clip"
        )
    return torch.from_numpy(ids_R)


def _candidates(
    scores_RV: np.ndarray, temperatures_R: np.ndarray, top_k: int | None, top_p: float | None
) -> tuple[np.ndarray, np.ndarray, Sequence[int]]:
    """p_RK (float64) in falling order, their ids_RK, and how many are to be drawn among.

    The others' p are zero.
    """
    rows, size = scores_RV.shape
    ids_RK = _ordered(scores_RV, min(top_k or size, size))
    ordered_RK = scores_RV[np.arange(rows)[:, None], ids_RK].astype(np.float64)
    with np.errstate(over="ignore"):
        # Relative to the largest, so that no temperature is low enough to lose it, too.
        p_RK = np.exp((ordered_RK - ordered_RK[:, :1]) / temperatures_R[:, None])
    p_RK /= p_RK.sum(1, keepdims=True)
    if top_p is None:
        return p_RK, ids_RK, [p_RK.shape[1]] * rows
    # A token stays if what comes before it does not yet reach top_p: at least one always does.
    kept_RK = p_RK.cumsum(1) - p_RK < top_p
    return p_RK * kept_RK, ids_RK, kept_RK.sum(1).tolist()


def _ordered(scores_RV: np.ndarray, count: int) -> np.ndarray:
    """Ids of the greatest scores in falling order; of equal ones the lower first."""
    if scores_RV.dtype != np.float32 or scores_RV.size < FEW:
        return (-scores_RV).argsort(1, kind="stable")[:, :count]
    # A whole number for each, of score and id: none are equal, and any sort of them is stable.
    bits_RV = (scores_RV + np.float32(0)).view(np.int32)  # no zero has a sign
    rising_RV = bits_RV ^ ((bits_RV >> 31) & np.int32(0x7FFFFFFF))
    size = scores_RV.shape[1]
    keys_RK = rising_RV.astype(np.int64) << 32 | np.arange(size - 1, -1, -1)
    if count < size:
        keys_RK = np.partition(keys_RK, size - count)[:, size - count :]
    keys_RK.sort()
    ids_RK: np.ndarray = size - 1 - (keys_RK[:, ::-1] & 0xFFFFFFFF)
    return ids_RK


def _drawn(
    p_RK: np.ndarray, counts_R: Sequence[int], generators: Sequence[torch.Generator]
) -> np.ndarray:
    """A place in each row, as ``torch.multinomial`` draws it from the row's candidates alone.

    That is the largest p / q, q being exponential: which of so many waiting times is over first.
    """
    q_RK = torch.ones(p_RK.shape, dtype=torch.float64)
    for q_K, count, generator in zip(q_RK.unbind(), counts_R, generators, strict=True):
        q_K.narrow(0, 0, count).exponential_(generator=generator)
    places_R: np.ndarray = (p_RK / q_RK.numpy()).argmax(1)
    return places_R
