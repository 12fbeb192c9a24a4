"""AdaGrad for GloVe one cell at a time: compiled, on every core, with the same bits on any number.

Tokens are dealt to K parts, so that cell (i, j) lies in block (part of i, part of j) of K x K.
Blocks that share neither rows nor columns touch different vectors: in round s the blocks
(p, p + s mod K) run side by side and give what they give one after another (Gemulla et al. 2011,
"Large-scale matrix factorization with distributed stochastic gradient descent"). So the result
depends on the seed and K, not on the threads; and a block's vectors fit the caches, which doubles
the speed of one core.

Shapes: C cells (pairs i, j with X_ij > 0), V vocabulary, D vector size, K parts, E = D + 1.
A token's row (2 E) holds its D numbers, its bias, and the sum of the squared gradients of each.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from lm_research.vectorizers.compiled import compiled

PARTS = 32
"""K: at most so many threads have work; with more parts they would wait for each other more
often."""
_FIRST_SQUARES = 1.0
"""So that a row moves by its gradient at first, not by the whole rate: better vectors
(docs/vectorizers.md)."""


class Blocks(NamedTuple):
    """Cells in the order of their blocks.

    ``cells`` (C, 4) is int32: i, j, and the bits of the float32 numbers ln X_ij and f(X_ij).
    Block (p, q) is ``cells[starts[p * parts + q] : starts[p * parts + q + 1]]``.
    """

    cells: np.ndarray
    starts: np.ndarray
    parts: int


def deal(weights_V: np.ndarray, parts: int) -> np.ndarray:
    """The part (int32, V) of each token: heaviest first, to the part that carries the least."""
    part_V = np.zeros(len(weights_V), dtype=np.int32)
    loads = np.zeros(parts)
    for token in np.argsort(-weights_V, kind="stable"):
        part_V[token] = least = int(loads.argmin())
        loads[least] += weights_V[token]
    return part_V


def blocks(
    counts_VV: sparse.csr_array,
    x_max: float,
    alpha: float,
    memory: float = np.inf,
    parts: int = PARTS,
) -> Blocks:
    """Order the cells of X by block; on the disk where they take more than ``memory`` bytes."""
    part_V = deal(np.diff(counts_VV.indptr), parts)
    arrays = counts_VV.indptr, counts_VV.indices
    starts = np.zeros(parts * parts + 1, dtype=np.int64)
    _loops().count(*arrays, part_V, parts, starts)
    np.cumsum(starts, out=starts)
    cells = _room(counts_VV.nnz, memory)
    numbers = cells.view(np.float32)
    _loops().place(
        *arrays, counts_VV.data, part_V, parts, starts[:-1].copy(), cells, numbers, x_max, alpha
    )
    return Blocks(cells, starts, parts)


def _room(cells: int, memory: float) -> np.ndarray:
    if cells * 16 <= memory:
        return np.empty((cells, 4), dtype=np.int32)
    with tempfile.TemporaryFile(prefix="lm-research-cells-") as file:  # mapped, it lives on unnamed
        return np.memmap(file, dtype=np.int32, shape=(cells, 4), mode="w+")


def initial_rows(
    vocabulary_size: int, dim: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Main and context rows (V, 2 E): U(-0.5, 0.5) / D, and squares of one."""
    shape = (2, vocabulary_size, dim + 1)
    drawn = (rng.random(shape, dtype=np.float32) - 0.5) / dim
    main, context = np.concatenate([drawn, np.full_like(drawn, _FIRST_SQUARES)], -1)
    return main, context


def train_blocks(
    counts_VV: sparse.csr_array,
    dim: int,
    *,
    x_max: float,
    alpha: float,
    epochs: int,
    learning_rate: float,
    seed: int,
    threads: int,
    memory: float = np.inf,
) -> tuple[np.ndarray, list[float]]:
    """Fit w and w~ to X by AdaGrad (Duchi et al. 2011), every cell a step.

    Each epoch takes the rounds in a new order, and the cells of each block in a new order.

    Returns:
        The vectors w + w~ (V, D; float32), and J divided by the number of cells at each epoch, as
        met on the way.
    """
    rng = np.random.default_rng(seed)
    ordered = blocks(counts_VV, x_max, alpha, memory)
    main, context = initial_rows(counts_VV.shape[0], dim, rng)
    objectives = []
    with ThreadPoolExecutor(max(1, min(threads, ordered.parts))) as pool:
        for _ in range(epochs):
            shifts, salt = rng.permutation(ordered.parts), rng.integers(1 << 62)
            total = _epoch(ordered, main, context, learning_rate, shifts, salt, pool)
            objectives.append(total / len(ordered.cells))
    return main[:, :dim] + context[:, :dim], objectives


def _epoch(
    ordered: Blocks,
    main: np.ndarray,
    context: np.ndarray,
    learning_rate: float,
    shifts: np.ndarray,
    salt: np.integer[Any],
    pool: ThreadPoolExecutor,
) -> float:
    """J of the cells as they were met."""
    cells, starts, parts = ordered
    numbers, values = cells.view(np.float32), np.zeros(parts * parts)
    side, threads = np.arange(parts), pool._max_workers
    rounds = [side * parts + (side + shift) % parts for shift in shifts]
    # One thread needs no rounds: it takes all blocks in one call.
    for together in [np.concatenate(rounds)] if threads == 1 else rounds:
        heavy = together[np.argsort(starts[together] - starts[together + 1], kind="stable")]
        shares = [together] if threads == 1 else [heavy[t::threads] for t in range(threads)]
        arguments: tuple[Any, ...] = (
            starts,
            cells,
            numbers,
            main,
            context,
            np.float32(learning_rate),
            np.uint64(salt),
            values,
        )
        for done in [pool.submit(_loops().run, share, *arguments) for share in shares]:
            done.result()
    return float(values.sum())


class _Loops(NamedTuple):
    count: Any
    place: Any
    run: Any


@cache
def _loops() -> _Loops:
    import lm_research.vectorizers.glove_loops as loops

    return _Loops(compiled(loops.count), compiled(loops.place), loops.compiled_run())
