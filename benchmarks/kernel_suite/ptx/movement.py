"""Instructions that move data: loads, stores, atomics, asynchronous copies, shuffles."""

from collections.abc import Callable

import numpy as np

from kernel_suite.ptx.errors import UnsupportedError
from kernel_suite.ptx.memory import POISON, Memory
from kernel_suite.ptx.operands import TYPES, Step, address, guard_of, reader, size_of, writer
from kernel_suite.ptx.parse import Immediate, Instruction, Symbol, Vector
from kernel_suite.ptx.state import LANES, Warp

STRONG = ("volatile", "relaxed", "acquire", "release", "acq_rel")
IGNORED = {"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "weak", "sync", "aligned", "gpu", "sys"}
"""What changes no value here: caches' hints, and scopes that hold all that there is."""
LEVELS = ("L1::", "L2::")
SYNCHRONISED = {"volatile", "relaxed", "acquire", "release", "acq_rel"}


def check_parts(instruction: Instruction, known: set[str]) -> None:
    """Raises UnsupportedError for a part of the opcode that nobody looks at."""
    for part in instruction.opcode[1:]:
        if part not in known | IGNORED | SYNCHRONISED and not part.startswith(LEVELS):
            raise UnsupportedError(f"{instruction.text}: .{part}")


def memory_of(instruction: Instruction) -> Callable[[Warp], Memory]:
    """Global or a block's shared memory."""
    if instruction.has("shared", "shared::cta"):
        return lambda warp: warp.block.shared
    if instruction.has("global"):
        return lambda warp: warp.launch.memory
    raise UnsupportedError(f"{instruction.text}: neither global nor shared")


def active(guard: Callable | None) -> Callable[[Warp], np.ndarray | slice]:
    """The lanes an instruction is for."""
    if guard is None:
        return lambda warp: slice(None)
    return lambda warp: np.flatnonzero(guard(warp))


def parts_of(operand: object) -> tuple:
    """A vector's parts, or the one."""
    return operand.parts if isinstance(operand, Vector) else (operand,)


SPACES = {"global", "shared", "shared::cta", "param", "v2", "v4", "v8", *TYPES}


def load(instruction: Instruction) -> Step:
    """ld, of any vector."""
    check_parts(instruction, SPACES)
    target, source = instruction.operands
    if instruction.has("param"):
        return _load_parameter(instruction)
    memory, where, kind = memory_of(instruction), address(source), instruction.kind
    guard = guard_of(instruction)
    lanes, writers = active(guard), [writer(part, guard) for part in parts_of(target)]
    dtype, size = TYPES[kind], size_of(kind) * len(writers)
    strong, acquires = instruction.has(*STRONG), instruction.has("acquire")

    def step(warp: Warp) -> None:
        chosen = lanes(warp)
        addresses, space = where(warp)[chosen], memory(warp)
        if not len(addresses):
            return
        found = np.zeros((LANES, size), np.uint8)
        found[chosen] = space.load(warp.clock, addresses, size, strong)
        if strong:
            for place in set((addresses - space.base).tolist()):
                space.history.acquire(warp.clock, place, acquires)
        for column, write in enumerate(writers):
            write(warp, found.view(dtype)[:, column].copy())

    return step


def _load_parameter(instruction: Instruction) -> Step:
    target, source = instruction.operands
    write, dtype = writer(target, guard_of(instruction)), TYPES[instruction.kind]
    where = address(source)

    def step(warp: Warp) -> None:
        places = set(where(warp).tolist())
        if len(places) > 1:
            raise UnsupportedError(f"{instruction.text}: another parameter in each lane")
        value: np.ndarray = np.frombuffer(warp.launch.parameter(places.pop()), dtype, 1)
        write(warp, np.repeat(value, LANES))

    return step


def bytes_of(operand: object, kind: str) -> Callable[[Warp], np.ndarray]:
    """uint8 (32, size) of a register or a vector."""
    readers = [reader(part, kind) for part in parts_of(operand)]
    return lambda warp: np.stack([read(warp) for read in readers], 1).view(np.uint8)


def store(instruction: Instruction) -> Step:
    """st, of any vector."""
    check_parts(instruction, SPACES)
    target, source = instruction.operands
    memory, where, lanes = memory_of(instruction), address(target), active(guard_of(instruction))
    values = bytes_of(source, instruction.kind)
    strong, releases = instruction.has(*STRONG), instruction.has("release")

    def step(warp: Warp) -> None:
        chosen = lanes(warp)
        addresses, space = where(warp)[chosen], memory(warp)
        if not len(addresses):
            return
        space.store(warp.clock, addresses, values(warp)[chosen], strong)
        if strong:
            _hand_on(warp, space, addresses, releases, False)

    return step


def _hand_on(
    warp: Warp, space: Memory, addresses: np.ndarray, releases: bool, after_others: bool
) -> None:
    """What a strong store or update makes known to whoever acquires there."""
    pass_on = space.history.release if releases else space.history.store_relaxed
    for place in set((addresses - space.base).tolist()):
        pass_on(warp.clock, place, after_others)
    if releases:
        warp.clock.tick()


UPDATES: dict[str, Callable] = {
    "add": lambda old, new: old + new,
    "exch": lambda old, new: new,
    "min": min,
    "max": max,
    "and": lambda old, new: old & new,
    "or": lambda old, new: old | new,
    "xor": lambda old, new: old ^ new,
}


def update(instruction: Instruction) -> Step:
    """atom and red: one lane after another."""
    swaps = instruction.has("cas")
    operations = [part for part in instruction.opcode if part in UPDATES or part == "cas"]
    check_parts(instruction, SPACES | set(operations) | {"noftz"})
    kind = instruction.kind
    if len(operations) != 1 or kind not in TYPES or kind.startswith("bf") or kind.endswith("x2"):
        raise UnsupportedError(instruction.text)
    guard = guard_of(instruction)
    target, where, *given = instruction.operands
    if instruction.name == "red":
        target, where, given = Symbol("_"), target, [where, *given]
    memory, places, lanes = memory_of(instruction), address(where), active(guard)
    write, readers = writer(target, guard), [reader(operand, kind) for operand in given]
    dtype = TYPES[kind]
    acquires = instruction.has("acquire", "acq_rel")
    releases = instruction.has("release", "acq_rel")

    def step(warp: Warp) -> None:
        space, values = memory(warp), [read(warp) for read in readers]
        addresses, before = places(warp), np.zeros(LANES, dtype)
        chosen = np.arange(LANES)[lanes(warp)]
        for lane in chosen:
            here = addresses[lane : lane + 1]
            raw = space.load(warp.clock, here, np.dtype(dtype).itemsize, True)
            old = raw.view(dtype)[0, 0]
            if swaps:
                new = values[1][lane] if old == values[0][lane] else old
            else:
                new = UPDATES[operations[0]](old, values[0][lane])
            before[lane] = old
            space.store(warp.clock, here, np.array([[new]], dtype).view(np.uint8), True)
            space.history.acquire(warp.clock, int(here[0]) - space.base, acquires)
        if len(chosen):
            _hand_on(warp, space, addresses[chosen], releases, True)
        write(warp, before)

    return step


def fence(instruction: Instruction) -> Step:
    """fence and membar."""
    check_parts(instruction, {"sc", "gl", "cta"})
    if instruction.has("cta"):
        raise UnsupportedError(instruction.text)
    return lambda warp: warp.launch.memory.pass_fence(warp.clock)


def copy(instruction: Instruction) -> Step:
    """cp.async: the bytes arrive when their group is waited for, and are poison until then."""
    if instruction.has("commit_group"):
        return _commit
    if instruction.has("wait_group", "wait_all"):
        return _wait(instruction)
    check_parts(instruction, {"async", "shared", "shared::cta", "global"})
    target, source, size, *rest = instruction.operands
    assert isinstance(size, Immediate)
    to, back, lanes = address(target), address(source), active(guard_of(instruction))
    taken = reader(rest[0] if rest else size, "u32")

    def step(warp: Warp) -> None:
        chosen = lanes(warp)
        there, here, most = to(warp)[chosen], back(warp)[chosen], taken(warp)[chosen]
        if not len(there):
            return
        poison = np.full((len(there), size.value), POISON, np.uint8)
        warp.block.shared.store(warp.clock, there, poison)
        warp.copies.append(lambda: _arrive(warp, there, here, most, size.value))

    return step


def _arrive(warp: Warp, there: np.ndarray, here: np.ndarray, most: np.ndarray, size: int) -> None:
    """Bytes beyond ``most`` are zero; of a lane that takes none the source may be anything."""
    values = np.zeros((len(there), size), np.uint8)
    for taken in set(most.tolist()) - {0}:
        lanes = most == taken
        values[lanes, :taken] = warp.launch.memory.load(warp.clock, here[lanes], taken)
    warp.block.shared.store(warp.clock, there, values)


def _commit(warp: Warp) -> None:
    warp.groups.append(warp.copies)
    warp.copies = []


def _wait(instruction: Instruction) -> Step:
    everything = instruction.has("wait_all")
    operand = Immediate(0) if everything else instruction.operands[0]
    assert isinstance(operand, Immediate)

    def step(warp: Warp) -> None:
        if everything:
            _commit(warp)
        while len(warp.groups) > operand.value:
            for arrive in warp.groups.pop(0):
                arrive()

    return step


ALL = (-1, 0xFFFFFFFF)
"""Of a warp's lanes, as a mask."""


def shuffle(instruction: Instruction) -> Step:
    """shfl.sync of all lanes: a value from another lane of the warp."""
    mode = instruction.opcode[2]
    target, source, amount, limits, members = instruction.operands
    all_lanes = isinstance(members, Immediate) and members.value in ALL
    if instruction.guard or not all_lanes:
        raise UnsupportedError(f"{instruction.text}: not of all lanes")
    write, value = writer(target, None), reader(source, "b32")
    by, packed = reader(amount, "u32"), reader(limits, "u32")
    lane = np.arange(LANES)

    def step(warp: Warp) -> None:
        amounts, limit = by(warp).astype(np.int64) & 31, packed(warp).astype(np.int64)
        mask, clamp = limit >> 8 & 31, limit & 31
        last = (lane & mask) | (clamp & ~mask)
        other = {
            "idx": (lane & mask) | (amounts & ~mask),
            "up": lane - amounts,
            "down": lane + amounts,
            "bfly": lane ^ amounts,
        }[mode]
        inside = other >= last if mode == "up" else other <= last
        write(warp, value(warp)[np.where(inside, other, lane)])

    return step


def reduce(instruction: Instruction) -> Step:
    """redux.sync.add of all lanes: every lane has the sum over the warp."""
    target, source, members = instruction.operands
    if instruction.guard or instruction.opcode[2] != "add":
        raise UnsupportedError(f"{instruction.text}: not a sum of all lanes")
    write, value, asked = writer(target, None), reader(source, "u32"), reader(members, "u32")

    def step(warp: Warp) -> None:
        if (asked(warp) != 0xFFFFFFFF).any():
            raise UnsupportedError(f"{instruction.text}: not of all lanes")
        total = value(warp).astype(np.uint64).sum() & 0xFFFFFFFF
        write(warp, np.full(LANES, total, np.uint32))

    return step


def vote(instruction: Instruction) -> Step:
    """vote.sync of all lanes: whether any has it, whether all have."""
    mode = instruction.opcode[2]
    target, source, members = instruction.operands
    known = mode in ("any", "all") and instruction.kind == "pred" and not instruction.guard
    if not known or not isinstance(members, Immediate) or members.value not in ALL:
        raise UnsupportedError(f"{instruction.text}: not of all lanes")
    write, value = writer(target, None), reader(source, "pred")
    test = np.any if mode == "any" else np.all
    return lambda warp: write(warp, np.full(LANES, test(value(warp))))


BUILD: dict[str, Callable[[Instruction], Step]] = {
    "ld": load,
    "st": store,
    "atom": update,
    "red": update,
    "fence": fence,
    "membar": fence,
    "cp": copy,
    "shfl": shuffle,
    "redux": reduce,
    "vote": vote,
}
