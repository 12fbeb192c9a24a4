"""What can be wrong with a kernel."""


class Fault(RuntimeError):
    """A kernel does what it must not; says which instruction of which warp."""


class Unsupported(NotImplementedError):
    """An instruction that the interpreter does not know."""


class OutOfBounds(Fault):
    """An address that belongs to no tensor, or to no shared memory, or that is not aligned."""


class Race(Fault):
    """Two warps at one byte, at least one writing it, with nothing that orders them."""


class Divergence(Fault):
    """Lanes of one warp take different branches, which real warps can and this one cannot."""


class Deadlock(Fault):
    """Nobody can go on, or nobody has come to an end within the limit."""
