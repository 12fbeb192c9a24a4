"""Does a kernel need all its synchronisation, and is what is missing noticed?

Each barrier of a compiled kernel is left out in turn, each release and acquire made relaxed. What
runs without a race all the same is not needed on this input, or its absence is not noticed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernel_suite.ptx.device import emulated
from kernel_suite.ptx.errors import KernelError

SITE = re.compile(r"bar(?:rier)?\.sync[^;\n]*;|\b(?:release|acquire)\b")
LIMIT = 500_000
"""Instructions of a launch, well above what a small one takes: a lost arrival is waited for."""


@dataclass(frozen=True)
class Weakened:
    """A kernel without one of its orders: the ``number``-th of its sites in the text."""

    kernel: str
    site: str
    number: int
    outcome: str


def sites(text: str) -> list[str]:
    """What orders accesses in PTX text."""
    return [" ".join(found[0].split()) for found in SITE.finditer(text)]


def without(text: str, number: int) -> str:
    """The text without one of its barriers, or with one of its strong accesses relaxed."""
    found = list(SITE.finditer(text))[number]
    weaker = "" if found[0].startswith("bar") else "relaxed"
    return text[: found.start()] + weaker + text[found.end() :]


def weaken(target: str, launch: Callable[[], Any]) -> list[Weakened]:
    """Every site of every kernel that ``launch`` runs, its outcome an error's name or ``unseen``.

    Args:
        target: chip to compile for.
        launch: runs the kernels; called once more for each site.
    """
    with emulated(target, seed=0, limit=LIMIT) as launched:
        launch()
    names = {compiled.asm["ptx"]: compiled.name for compiled in launched}
    return [
        Weakened(name, site, number, _outcome(target, launch, text, without(text, number)))
        for text, name in names.items()
        for number, site in enumerate(sites(text))
    ]


def _outcome(target: str, launch: Callable[[], Any], text: str, weaker: str) -> str:
    def changed(given: str) -> str:
        return weaker if given == text else given

    try:
        with emulated(target, seed=0, limit=LIMIT, change=changed):
            launch()
    except KernelError as error:
        return type(error).__name__
    return "unseen"
