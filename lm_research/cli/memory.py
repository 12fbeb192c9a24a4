"""Memory that did not suffice: what was asked for, and what to change."""

import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json

UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
UNITS |= {"TiB": 1 << 40, "PiB": 1 << 50, "EiB": 1 << 60}
_ASKED = re.compile(r"(?:allocate|allocating) ([\d.]+) ?(bytes|[KMGTPE]iB)")
_REFUSED = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


KILLED = (
    "the kernel has killed for want of memory meanwhile; a smaller budget.batch_size with a larger "
    "trainer.accumulate takes less, or fewer runs at a time"
)


class OutOfMemory(Exception):  # noqa: N818 - named as everybody names it
    """A device's memory did not suffice: says what was asked for, and which overrides ask less."""

    exit_code = 71
    """EX_OSERR: the same command would fail again, so a scheduler should not repeat it."""


@contextmanager
def telling_of_memory(config: Mapping[str, Any], run: Path) -> Iterator[None]:
    """Whichever allocator refuses in the block, of torch, CUDA, numpy or Python, is told alike.

    Args:
        config: the run's, for what it asked and what to change.
        run: its folder, whose summary says how large the model is.

    Raises:
        OutOfMemory: in place of theirs.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        raise OutOfMemory(explanation(str(error), config, run)) from error


def is_memory(error: BaseException) -> bool:
    """Whether ``error`` is a refused allocation; torch says so in words alone on a CPU."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(text in words for text in _REFUSED)


def explanation(said: str, config: Mapping[str, Any], run: Path) -> str:
    """What the run asked for, and overrides that ask for less, most useful first."""
    budget, trainer = config["budget"], config["trainer"]
    where = "the GPU" if "CUDA" in said or "HIP" in said else "the CPU"
    asked = [
        *(f"budget.{key}={budget[key]}" for key in ("batch_size", "window", "hidden_size")),
        *(f"trainer.{key}={trainer[key]}" for key in ("accumulate", "precision", "devices")),
    ]
    return "\n".join(
        [
            f"out of memory on {where}{_more(said)}",
            f"  asked for: {' '.join(asked)}{_model(run)}",
            f"  held: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of main "
            "memory at most",
            f"  to change: {'; '.join(_remedies(budget, trainer, where))}",
            f"  said: {next(iter(said.splitlines()), '') or 'nothing more'}",
        ]
    )


def _model(run: Path) -> str:
    try:
        parameters = int(read_json(run / "summary.json")["model/parameters"])
    except (RunFolderError, KeyError, TypeError):
        return ""  # it came to no model
    return f", a model of {parameters:,} parameters"


def _more(said: str) -> str:
    found = _ASKED.search(said)
    if found is None:
        return ""
    size = round(float(found[1]) * UNITS[found[2]])
    return f": {size:,} bytes more ({size / UNITS['GiB']:.2f} GiB) were refused"


def _remedies(budget: Mapping[str, Any], trainer: Mapping[str, Any], where: str) -> Iterator[str]:
    half = budget["batch_size"] // 2
    if half and half % trainer["devices"] == 0:
        twice = 2 * trainer["accumulate"]
        yield (
            f"budget.batch_size={half} trainer.accumulate={twice} (as many tokens an optimizer "
            "step), or trainer.find_batch_size=keep_tokens"
        )
    if budget["window"] > 1:
        yield f"budget.window={budget['window'] // 2}"
    if where == "the GPU" and trainer["precision"] in ("32-true", "auto"):
        yield "trainer.precision=bf16-mixed"
    yield "a smaller budget.hidden_size"


def oom_kills() -> int:
    """How often the kernel has killed a process for want of memory, here and in this container."""
    counts = 0
    for file in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        try:
            lines = [line.split() for line in file.read_text().splitlines()]
        except OSError:
            continue
        counts += sum(int(value) for name, value in lines if name == "oom_kill")
    return counts


def available_bytes() -> int | None:
    """Memory that this process may still take: the machine's, or less in a container."""
    try:
        rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())  # "max" where there is no limit
        return min(free, most - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return free
