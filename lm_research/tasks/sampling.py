"""Choose next tokens from scores, many streams at once, each with draws of its own.

Shapes: R rows (streams), V vocabulary, K candidates (the most probable tokens).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm_research.tasks.evaluation import DivergenceError


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
    chosen_R = most_probable(scores_RV)
    groups: dict[tuple[int | None, float | None], list[int]] = {}
    for row, how in enumerate(samplings):
        if how.temperature:
            groups.setdefault((how.top_k, how.top_p), []).append(row)
    for (top_k, top_p), rows in groups.items():
        some_RV = scores_RV if len(rows) == len(scores_RV) else scores_RV[rows]
        temperatures = [samplings[row].temperature for row in rows]
        p_RK, ids_RK, counts_R = _candidates(some_RV, temperatures, top_k, top_p)
        drawn_R = _drawn(p_RK, counts_R, (generators[row] for row in rows))
        chosen_R[rows] = ids_RK.gather(1, drawn_R[:, None])[:, 0]
    return chosen_R.tolist()


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
    scores_RV: Tensor, temperatures: Sequence[float], top_k: int | None, top_p: float | None
) -> tuple[Tensor, Tensor, list[int]]:
    """p_RK (float64) in falling order, their ids_RK, and how many are to be drawn among.

    The others' p are zero.
    """
    size = scores_RV.shape[1]
    ordered_RK, ids_RK = _ordered(scores_RV, min(top_k or size, size))
    temperature_R1 = torch.tensor(temperatures, dtype=torch.float64)[:, None]
    # Relative to the largest, so that no temperature is low enough to lose it, too.
    p_RK = ((ordered_RK - ordered_RK[:, :1]) / temperature_R1).softmax(1)
    if top_p is None:
        return p_RK, ids_RK, [p_RK.shape[1]] * len(p_RK)
    # A token stays if what comes before it does not yet reach top_p: at least one always does.
    kept_RK = p_RK.cumsum(1) - p_RK < top_p
    return p_RK * kept_RK, ids_RK, kept_RK.sum(1).tolist()


def _ordered(scores_RV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The greatest scores (float64) in falling order, and their ids; of equal ones lower first."""
    if scores_RV.dtype != torch.float32:
        ordered_RV, ids_RV = scores_RV.double().sort(descending=True, stable=True)
        return ordered_RV[:, :count], ids_RV[:, :count]
    # A whole number for each, of score and id: none are equal, and any sort of them is stable.
    bits_RV = (scores_RV + 0.0).numpy().view(np.int32)  # no zero has a sign
    rising_RV = bits_RV ^ ((bits_RV >> 31) & np.int32(0x7FFFFFFF))
    size = scores_RV.shape[1]
    keys_RK = rising_RV.astype(np.int64) << 32 | np.arange(size - 1, -1, -1)
    if count < size:
        keys_RK = np.partition(keys_RK, size - count)[:, size - count :]
    keys_RK.sort()
    ids_RK = torch.from_numpy(size - 1 - (keys_RK[:, ::-1] & 0xFFFFFFFF))
    return scores_RV.gather(1, ids_RK).double(), ids_RK


def _drawn(p_RK: Tensor, counts_R: Sequence[int], generators: Iterable[torch.Generator]) -> Tensor:
    """A place in each row, as ``torch.multinomial`` draws it from the row's candidates alone.

    That is the largest p / q, q being exponential: which of so many waiting times is over first.
    """
    q_RK = torch.ones_like(p_RK)
    for q_K, count, generator in zip(q_RK, counts_R, generators, strict=True):
        q_K[:count].exponential_(generator=generator)
    return (p_RK / q_RK).argmax(1)
