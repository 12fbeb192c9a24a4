"""Rows for the tokens that word vectors do not hold.

Shapes: V vocabulary, D vector size.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Unknown = Literal["random", "uniform", "zero", "mean", "subword"]
UNIFORM = 0.25
"""The bound of "uniform": about the variance of word2vec's published vectors."""


def fill(
    weight_VD: Tensor, known_V: Tensor, how: Unknown, seed: int, tokens: Sequence[str] | None = None
) -> Tensor:
    """``weight_VD`` with the rows that are not known made up.

    "random": N(0, s^2), s being the standard deviation of the known rows' numbers. "uniform":
    U(-0.25, 0.25), as Kim 2014 (arXiv:1408.5882). "zero". "mean": the mean of the known rows.
    "subword": the mean, over the token's character 3- to 6-grams (with "<" and ">" at its ends, as
    fastText has them) that known tokens share, of those tokens' mean rows; where none is shared, or
    without ``tokens``, the mean.
    """
    known_KD = weight_VD[known_V]
    generator = torch.Generator().manual_seed(seed)
    if how == "random":
        made_VD = (
            torch.randn(weight_VD.shape, generator=generator) * known_KD.std(correction=0).item()
        )
    elif how == "uniform":
        made_VD = torch.empty(weight_VD.shape).uniform_(-UNIFORM, UNIFORM, generator=generator)
    elif how == "zero":
        made_VD = torch.zeros_like(weight_VD)
    else:
        made_VD = known_KD.mean(0).expand_as(weight_VD).clone()
        if how == "subword" and tokens is not None:
            _by_subwords(made_VD, weight_VD, known_V.tolist(), tokens)
    return torch.where(known_V[:, None], weight_VD, made_VD)


def _by_subwords(
    made_VD: Tensor, weight_VD: Tensor, known: list[bool], tokens: Sequence[str]
) -> None:
    wanted = {
        gram for token, here in zip(tokens, known, strict=True) if not here for gram in grams(token)
    }
    holders: dict[str, list[int]] = defaultdict(list)
    for id, token in enumerate(tokens):
        if known[id]:
            for gram in grams(token) & wanted:
                holders[gram].append(id)
    for id, token in enumerate(tokens):
        shared = [] if known[id] else sorted(gram for gram in grams(token) if gram in holders)
        if shared:
            made_VD[id] = torch.stack([weight_VD[holders[gram]].mean(0) for gram in shared]).mean(0)


def grams(token: str) -> set[str]:
    """Its character 3- to 6-grams."""
    word = f"<{token.strip()}>"
    return {word[i : i + n] for n in range(3, 7) for i in range(len(word) - n + 1)}
