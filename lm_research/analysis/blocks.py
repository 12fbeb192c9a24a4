"""The largest complete part of a grid with holes: what may be averaged without mixing."""

from collections.abc import Iterable, Sequence

from lm_research.analysis.statistics import mean

Block = tuple[str, ...]
"""The choices on the other axes, which a comparison holds fixed."""
Cells = dict[tuple[Block, int], float]
"""Value by (block, seed)."""


def complete_block(cells: Iterable[tuple[Block, int]]) -> tuple[list[Block], list[int]]:
    """A complete blocks x seeds rectangle inside ``cells``, by dropping what has most holes.

    Greedy: while a hole is left, the block or the seed with the largest share of holes goes (on a
    tie the block, since the seeds carry the interval).
    """
    present = set(cells)
    blocks = sorted({block for block, _ in present})
    seeds = sorted({seed for _, seed in present})
    if len(present) == len(blocks) * len(seeds):  # nothing is missing, as in most studies
        return blocks, seeds
    while blocks:
        by_block = {b: sum((b, s) not in present for s in seeds) / len(seeds) for b in blocks}
        by_seed = {s: sum((b, s) not in present for b in blocks) / len(blocks) for s in seeds}
        worst_block = max(blocks, key=lambda b: by_block[b])
        worst_seed = max(seeds, key=lambda s: by_seed[s])
        if not by_block[worst_block]:
            break
        if by_seed[worst_seed] > by_block[worst_block]:
            seeds.remove(worst_seed)
        else:
            blocks.remove(worst_block)
    return blocks, seeds


def seed_means(cells: Cells, blocks: Sequence[Block], seeds: Sequence[int]) -> dict[int, float]:
    """Per seed, the mean over ``blocks``: the replicates of everything averaged over axes."""
    return {seed: mean([cells[block, seed] for block in blocks]) for seed in seeds}
