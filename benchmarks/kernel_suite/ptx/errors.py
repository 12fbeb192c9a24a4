"""What can be wrong with a kernel."""


class KernelError(RuntimeError):
    """A kernel does what it must not; says which instruction of which warp."""


class UnsupportedError(NotImplementedError):
    """An instruction that the interpreter does not know."""


class OutOfBoundsError(KernelError):
    """An address that belongs to no tensor, or to no shared memory, or that is not aligned."""


class RaceError(KernelError):
    """Two warps at one byte, at least one writing it, with nothing that orders them."""


class DivergenceError(KernelError):
    """Lanes of one warp take different branches, which real warps can and this one cannot."""


class DeadlockError(KernelError):
    """Nobody can go on, or nobody has come to an end within the limit."""
