"""Designs over the shares of sources: which mixtures a study trains on."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

DECIMALS = 3


def mixture_cases(node: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A case for each mixture of a ``sweep.mixtures`` node; none without one.

    Every mixture is sampled while training (``data.schedule: {}``), so that its weights hold from
    the first step to the last, however small a source is.
    """
    if not node:
        return []
    sources = list(node["sources"])
    weights_RM = design_weights(
        len(sources),
        node.get("runs", 16),
        node.get("design", "dirichlet"),
        node.get("concentration", 1.0),
        node.get("seed", 0),
    )
    return [
        {
            "data": "mixture",
            "data.name": f"mixture_{number:03}",
            "data.weights": dict(zip(sources, row.tolist(), strict=True)),
            "data.schedule": {},
        }
        for number, row in enumerate(weights_RM, start=1)
    ]


def design_weights(
    sources: int, runs: int, design: str, concentration: float, seed: int
) -> np.ndarray:
    """weights_RM of R runs over M sources, float64, three decimals.

    - ``dirichlet``: drawn from Dirichlet(concentration, ...); below 1 nearer to single sources.
    - ``lattice``: of Scheffé's (1958) simplex lattice, the coarsest with enough points, the sources
      alone first and then always the point that is farthest from those before it.
    """
    rng = np.random.default_rng(seed)
    if design == "dirichlet":
        return np.round(rng.dirichlet(np.full(sources, concentration), runs), DECIMALS)
    parts = 1
    while len(points_CM := lattice(sources, parts)) < runs:
        parts += 1
    points_CM = points_CM[np.argsort(-points_CM.max(1), kind="stable")]
    chosen = list(range(min(sources, runs)))
    distance_C = abs(points_CM[:, None] - points_CM[chosen]).sum(2).min(1)
    while len(chosen) < runs:
        # Ties are broken at random, by a hair.
        chosen.append(int((distance_C + 1e-9 * rng.random(len(points_CM))).argmax()))
        distance_C = np.minimum(distance_C, abs(points_CM - points_CM[chosen[-1]]).sum(1))
    return np.round(points_CM[chosen], DECIMALS)


def lattice(sources: int, parts: int) -> np.ndarray:
    """All weights_CM that are multiples of 1 / parts and sum to 1: C(parts + M - 1, parts)."""
    bars = np.array(list(combinations(range(parts + sources - 1), sources - 1)), dtype=int)
    bars = bars.reshape(-1, sources - 1)
    edges = np.pad(bars, ((0, 0), (1, 0)), constant_values=-1)
    ends = np.pad(bars, ((0, 0), (0, 1)), constant_values=parts + sources - 1)
    return (ends - edges - 1) / parts
