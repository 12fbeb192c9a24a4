"""What goes with windows of a text that are random, of random length, that overlap, or that
evaluation strides by.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lm_research.config.problems import Problem

Plain = Mapping[str, Any]
File = Callable[[str], str]


def window_problems(config: Plain, file: File) -> Iterator[Problem]:
    """Of ``task=language_modeling``."""
    task = config["task"]
    carried, unscored = task.get("carry_state", True), task.get("unscored", 0)
    if task.get("windows") == "random" and carried:
        message = "carries a state from each window to the next, and random ones do not follow"
        fix = "task.carry_state=false; or task.windows=consecutive"
        yield Problem("task.carry_state", message, "true", fix, None, file("task"))
    elif unscored and carried:
        message = f"would take in twice what task.unscored={unscored} lets windows share"
        fix = "task.carry_state=false; or task.unscored=0"
        yield Problem("task.carry_state", message, "true", fix, None, file("task"))
    if unscored:
        yield from _unscored(unscored, config, file)
    if task.get("window_lengths") == "random":
        yield from _random_lengths(config, file)
    stride, window = task.get("eval_stride"), task["eval_window"]
    if isinstance(stride, int) and stride > window:
        message = "leaves tokens between the windows of evaluation unscored"
        allowed = f"1 to task.eval_window = {window}; or null"
        yield Problem("task.eval_stride", message, str(stride), allowed, None, file("task"))


def _unscored(unscored: int, config: Plain, file: File) -> Iterator[Problem]:
    window, where = config["budget"]["window"], file("task")
    if unscored >= window:
        message, allowed = "leaves nothing to score", f"less than budget.window = {window}"
        yield Problem("task.unscored", message, str(unscored), allowed, None, where)
    if config["task"]["predict"] == "last":
        message, allowed = "is of windows that are scored at every position", "task.predict=every"
        yield Problem("task.unscored", message, str(unscored), allowed, None, where)
    if config["task"].get("window_lengths") == "random":
        message, allowed = "lets windows of one length overlap", "0; or task.window_lengths=fixed"
        yield Problem("task.unscored", message, str(unscored), allowed, None, where)


def _random_lengths(config: Plain, file: File) -> Iterator[Problem]:
    trainer, field = config["trainer"], "task.window_lengths"
    if config["task"].get("windows") == "random":
        message = "is for windows that follow one another, and task.windows is random"
        yield Problem(field, message, "random", "fixed", None, file("task"))
    if trainer["accumulate"] > 1:
        message = "scales each window's rate, and an update on several windows has one"
        value = str(trainer["accumulate"])
        fix = "1; or task.window_lengths=fixed"
        yield Problem("trainer.accumulate", message, value, fix, None, file("trainer"))
    if trainer["find_batch_size"]:
        message = "tries out two windows, and task.window_lengths=random draws longer ones later"
        fix = "null; or task.window_lengths=fixed"
        yield Problem("trainer.find_batch_size", message, trainer["find_batch_size"], fix)
