"""``trainer.find_batch_size``: how many lanes fit into the memory, tried out before the run.

The trials are steps of the run itself, in a process of their own: nothing of theirs is left behind
in the run's weights, random generators or allocator, and the kernel may kill one without harm.
What was found stands in the run's config.yaml, as if it had been given; a resumed run keeps it.
Memory of data-parallel buckets and shards is not tried out, and no GPU has seen any of this yet.
"""

import logging
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lm_research.cli.memory import OutOfMemory
from lm_research.tracking.config_file import read_config

Config = dict[str, Any]
_log = logging.getLogger(__name__)
FOUND = (("budget", "batch_size"), ("trainer", "accumulate"))
"""What the search settles."""


def settle(config: Config, output: str | Path) -> Config:
    """``config`` with a batch size that fits, if it asks for one: the run's own, or searched now.

    Raises:
        OutOfMemory: not even one lane a process fits.
    """
    if not config["trainer"]["find_batch_size"] or (Path(output) / "config.yaml").exists():
        return adopt(config, output)
    with Trials(config) as trials:
        found = search(config, trials.fits)
    _log.info(
        "find_batch_size: budget.batch_size=%d trainer.accumulate=%d fit",
        found["budget"]["batch_size"],
        found["trainer"]["accumulate"],
    )
    return found


def adopt(config: Config, output: str | Path) -> Config:
    """``config`` with what an earlier attempt at the run in ``output`` found."""
    file = Path(output) / "config.yaml"
    if not config["trainer"]["find_batch_size"] or not file.exists():
        return config
    stored = read_config(file)
    if not stored.get("trainer", {}).get("find_batch_size"):
        return config  # another run: whoever claims the folder says what differs
    return _with(config, *(stored[group][name] for group, name in FOUND))


def search(config: Config, fits: Callable[[int], bool]) -> Config:
    """``config`` with the largest batch that fits; see ``trainer.find_batch_size``."""
    budget, trainer = config["budget"], config["trainer"]
    asked, devices = budget["batch_size"], trainer["devices"]
    keep = trainer["find_batch_size"] == "keep_tokens"
    tokens = asked * trainer["accumulate"] if keep else budget["train_tokens"] // budget["window"]
    shares = max(tokens // devices, 1)
    most = largest(lambda share: fits(share * devices), max(asked // devices, 1), shares)
    if most == 0:
        raise OutOfMemory(
            f"trainer.find_batch_size: not even budget.batch_size={devices} fits; try "
            f"budget.window={max(budget['window'] // 2, 1)}, or a smaller budget.hidden_size"
        )
    if not keep:
        return _with(config, most * devices, trainer["accumulate"])
    share = next(size for size in range(most, 0, -1) if shares % size == 0)
    return _with(config, share * devices, shares // share)


def largest(fits: Callable[[int], bool], start: int, most: int) -> int:
    """The largest of 1..``most`` that ``fits``, 0 if none does, where all below a fitting one fit.

    From ``start`` in doublings to the first that does not fit, then by bisection, until what is
    left to gain is less than a sixteenth: the very edge of the memory is no place for a run.
    """
    low, high = 0, min(start, most)
    while high <= most and fits(high):
        low, high = high, most if high < most < 2 * high else 2 * high
    high = min(high, most + 1)
    while high - low > max(low // 16, 1):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _with(config: Config, batch_size: int, accumulate: int) -> Config:
    budget = {**config["budget"], "batch_size": batch_size}
    return {
        **config,
        "budget": budget,
        "trainer": {**config["trainer"], "accumulate": accumulate},
    }


class Trials:
    """A process that tries batch sizes, begun anew when one of them was its end."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.context = get_context("spawn")
        self.process: Any = None

    def fits(self, batch_size: int) -> bool:
        """Whether steps with ``batch_size`` lanes over all processes go through.

        Raises:
            RuntimeError: they end with an error that is not about memory.
        """
        if self.process is None:
            self._begin()
        try:
            self.line.send(batch_size)
            answer = self.line.recv()
        except (EOFError, OSError):  # killed, most likely by the kernel for want of memory
            self._end()
            answer = False
        if isinstance(answer, str):
            raise RuntimeError(f"trainer.find_batch_size, batch size {batch_size}: {answer}")
        _log.info("find_batch_size: %d %s", batch_size, "fits" if answer else "does not fit")
        return bool(answer)

    def __enter__(self) -> "Trials":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _begin(self) -> None:
        from lm_research.cli.batch_trial import serve

        self.line, other = self.context.Pipe()
        self.process = self.context.Process(target=serve, args=(self.config, other), daemon=True)
        self.process.start()
        other.close()

    def _end(self) -> None:
        if self.process is not None:
            self.line.close()
            self.process.kill()
            self.process.join()
            self.process = None
