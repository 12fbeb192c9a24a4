"""Whether two sides' results are the same numbers."""

from collections.abc import Sequence

from torch import Tensor


def same(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], names: Sequence[str], near: float
) -> None:
    """Each within ``near`` of the other's norm.

    Raises:
        AssertionError: names the first that is not, and by how much.
    """
    for name, a, b in zip(names, ours, theirs, strict=True):
        size = b.double().norm().item()
        apart = (a.double() - b.double()).norm().item() / (size or 1.0)
        if not apart <= near:
            raise AssertionError(f"{name}: the sides are {apart:.1e} of the norm apart")
