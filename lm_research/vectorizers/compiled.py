"""Loops compiled by numba, where the extra ``fast`` has installed it.

Nothing here imports numba before it is asked for: it costs half a second.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

from lm_research.vectorizers.checks import check_choice

FIX = "pip install 'lm-research[fast]'"


@cache
def has_numba() -> bool:
    """Whether compiled loops can be had."""
    return importlib.util.find_spec("numba") is not None


def available(solver: str, choices: object) -> str:
    """``solver``, or what "auto" stands for here: "numba" where it is installed, else "numpy".

    Raises ``ValueError`` for what is not among the ``Literal`` annotation's choices, or not
    installed.
    """
    check_choice("solver", solver, choices)
    if solver == "numba" and not has_numba():
        raise ValueError(f"solver is 'numba', which is not installed: {FIX}, or solver=auto")
    if solver == "auto":
        return "numba" if has_numba() else "numpy"
    return solver


def compiled(loop: Callable[..., Any], fastmath: bool = False) -> Callable[..., Any]:
    """``loop`` as machine code that lets other threads run meanwhile.

    The code is kept beside the module, or in the user's cache folder; where neither can be
    written, it is compiled once a process. With ``fastmath`` sums may be taken in another order:
    the same one at every call on the same kind of CPU.
    """
    import numba

    # Without numpy's rule for division by zero every division is a branch, and nothing a vector.
    settings: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(loop)
    except RuntimeError:  # no place for a cache
        return numba.njit(**settings)(loop)
