"""Triton's launches, taken over: ``kernel[grid](...)`` compiles for a GPU and runs here.

Code that launches kernels is run as it is, on CPU tensors; plain Triton and Gluon alike. Written
for Triton 3.9. Triton must not be in its own interpreter (``TRITON_INTERPRET`` unset).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from kernel_suite.ptx.run import LIMIT, run


@dataclass(frozen=True)
class Driver:
    """What Triton asks its driver when it compiles; nothing is launched by it."""

    target: GPUTarget

    def get_current_target(self) -> GPUTarget:
        """The chip to compile for."""
        return self.target

    def get_current_device(self) -> GPUTarget:
        """Triton keeps its compiled kernels by device."""
        return self.target

    def get_current_stream(self, device: object) -> int:
        """There is none."""
        return 0


def target_of(name: str) -> GPUTarget:
    """``sm_80`` and the like."""
    return GPUTarget("cuda", int(name.removeprefix("sm_")), 32)


@contextmanager
def emulated(
    target: str,
    seed: int | None = None,
    limit: int = LIMIT,
    change: Callable[[str], str] | None = None,
    late: int | None = None,
) -> Iterator[list[Any]]:
    """Within it every launch of a Triton kernel runs in this interpreter, compiled for ``target``.

    Args:
        target: ``sm_80`` or ``sm_90``.
        seed: of the warps' random order, anew for each launch; None: they take turns.
        limit: of instructions, see :func:`~kernel_suite.ptx.run.run`.
        change: what is done to the PTX before it is run.
        late: of a store that others see late, see :func:`~kernel_suite.ptx.run.run`.

    Yields:
        A list that grows by each launch's compiled kernel.
    """
    launched: list[Any] = []
    compile_alone = JITFunction.run

    def launch(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        compiled = compile_alone(self, *args, grid=grid, warmup=True, **kwargs)
        if not warmup:
            launched.append(compiled)
            named = {name: value for name, value in kwargs.items() if name in self.arg_names}
            given = self.signature.bind(*args, **named)
            given.apply_defaults()
            grid = grid(given.arguments) if callable(grid) else grid
            variables = _variables(compiled, given.arguments)
            run(_changed(compiled, change), variables, grid, seed, limit, late)
        return compiled

    # asked for first, Triton's own driver would look for a GPU
    before = driver._active
    driver.set_active(Driver(target_of(target)))
    try:
        with mock.patch.object(JITFunction, "run", launch):
            yield launched
    finally:
        driver._active = before


def _changed(compiled: Any, change: Callable[[str], str] | None) -> Any:
    if change is None:
        return compiled
    asm = {"ptx": change(compiled.asm["ptx"])}
    return SimpleNamespace(asm=asm, metadata=compiled.metadata)


def _variables(compiled: Any, given: dict[str, Any]) -> list[Any]:
    """The arguments that are left when the compiler has made constants of the others."""
    kinds = compiled.src.signature
    return [value for name, value in given.items() if kinds[name] != "constexpr"]
