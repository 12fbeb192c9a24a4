"""A pool of GPUs on one machine: each run has one to itself, and waits until one is free.

A GPU is held by a lock on a file, which the run inherits: the kernel drops it when the run's last
process is gone, however it went, and several studies of one user share the pool.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 0.5


def pool(gpus: Sequence[int] | str | None) -> list[str]:
    """Names of the GPUs that ``sweep.gpus`` means, as CUDA_VISIBLE_DEVICES has them.

    Args:
        gpus: numbers; "all": those that this process may see; ``None``: no pool.
    """
    if gpus is None:
        return []
    if gpus != "all":
        return [str(gpu) for gpu in gpus]
    if (seen := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in seen.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def held(gpus: Sequence[str], stop: Callable[[], bool], poll: float = POLL_S) -> Iterator[str]:
    """Hold one of ``gpus``; while none is free, wait, or until ``stop()``.

    Yields:
        The GPU's name; empty if told to stop.
    """
    folder = _folder()
    while not stop():
        for gpu in gpus:
            descriptor = os.open(folder / f"gpu-{gpu.replace('/', '_')}.lock", _FLAGS, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield gpu
            finally:
                os.close(descriptor)  # a run that outlives this process holds it on
            return
        time.sleep(poll)
    yield ""


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def _folder() -> Path:
    """This user's own, on this machine: others could hold a GPU for ever in a shared one."""
    folder = Path(tempfile.gettempdir()) / f"lm-research-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: is not this user's own folder; remove it")
    return folder
