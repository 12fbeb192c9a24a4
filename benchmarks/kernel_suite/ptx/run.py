"""A compiled kernel, its arguments and a grid: run, and tensors are changed as a GPU would."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernel_suite.ptx.late import Late
from kernel_suite.ptx.machine import Machine
from kernel_suite.ptx.memory import Memory
from kernel_suite.ptx.parse import parse
from kernel_suite.ptx.state import LANES, Launch

BASE = 0x7F00_0000_0000
GAP = 512
"""Unusable bytes between two tensors, at least; tensors begin at multiples of it."""
LIMIT = 20_000_000


class Heap:
    """Tensors' storages in one memory, each once."""

    def __init__(self) -> None:
        self.size = GAP
        self.storages: dict[int, tuple[int, torch.UntypedStorage]] = {}

    def address(self, tensor: Tensor) -> int:
        """Where the tensor's first element will lie."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.storages:
            self.storages[storage.data_ptr()] = self.size, storage
            self.size += -(-(storage.nbytes() + GAP) // GAP) * GAP
        offset = int(tensor.storage_offset()) * tensor.element_size()
        return BASE + self.storages[storage.data_ptr()][0] + offset

    def memory(self, agents: int) -> Memory:
        """All storages' bytes, and nothing usable between them."""
        memory = Memory("global", self.size, BASE, range(agents))
        memory.usable[:] = False
        for start, storage in self.storages.values():
            memory.bytes[start : start + storage.nbytes()] = _view(storage)
            memory.usable[start : start + storage.nbytes()] = True
        return memory

    def fetch(self, memory: Memory) -> None:
        """What the kernel made of them."""
        for start, storage in self.storages.values():
            _view(storage)[:] = memory.bytes[start : start + storage.nbytes()]


def _view(storage: torch.UntypedStorage) -> np.ndarray:
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy()


def run(
    compiled: Any,
    arguments: Sequence[Tensor | int | float | None],
    grid: tuple[int, ...],
    seed: int | None = None,
    limit: int = LIMIT,
    late: int | None = None,
) -> int:
    """Runs what ``triton.compile`` returned; CPU tensors are read and written in place.

    Args:
        compiled: its ``asm["ptx"]`` and ``metadata`` (``shared``, ``num_warps``) are taken.
        arguments: those that are no constants, in the kernel's order; None is a null pointer.
        grid: up to three sizes.
        seed: of the warps' random order; None: they take turns.
        limit: instructions after which a DeadlockError is raised.
        late: 32 bits; whose relaxed stores are seen at the next fence (:mod:`.late`).

    Returns:
        How many instructions the warps executed.

    Raises:
        KernelError: OutOfBoundsError, RaceError, DivergenceError, DeadlockError.
        UnsupportedError: an instruction that is not known.
    """
    metadata = compiled.metadata
    text, warps, shared = compiled.asm["ptx"], metadata.num_warps, metadata.shared
    return run_ptx(text, arguments, grid, warps, shared, seed, limit, late)


def run_ptx(
    text: str,
    arguments: Sequence[Tensor | int | float | None],
    grid: tuple[int, ...],
    warps: int,
    shared: int = 0,
    seed: int | None = None,
    limit: int = LIMIT,
    late: int | None = None,
) -> int:
    """As :func:`run`, of PTX text."""
    program, heap = parse(text), Heap()
    values: list[Any] = [heap.address(x) if isinstance(x, Tensor) else x for x in arguments]
    values += [None] * (len(program.parameters) - len(values))  # Triton's scratch, of no bytes
    parameters = {
        name: _packed(value, size)
        for (name, size), value in zip(program.parameters, values, strict=True)
    }
    x, y, z = (*grid, 1, 1)[:3]
    memory = heap.memory(x * y * z * warps)
    memory.late = None if late is None else Late(late)
    launch = Launch((x, y, z), warps * LANES, parameters, memory)
    executed = Machine(program, launch, shared, seed, limit).run()
    heap.fetch(memory)
    return executed


def _packed(value: int | float | None, size: int) -> bytes:
    if isinstance(value, float):
        return struct.pack("<f" if size == 4 else "<d", value)
    return int(value or 0).to_bytes(size, "little", signed=(value or 0) < 0)
