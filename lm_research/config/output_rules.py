"""What goes with which output layer."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from lm_research.config.problems import Problem
from lm_research.config.task_rules import LANGUAGE_MODELING

FULL = "lm_research.tasks.output_layers.full.Full"
ADAPTIVE = "lm_research.tasks.output_layers.adaptive.Adaptive"
SAMPLED = (
    "lm_research.tasks.output_layers.sampled.Sampled",
    "lm_research.tasks.output_layers.sampled.NoiseContrastive",
)
Plain = Mapping[str, Any]


def output_problems(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    """Of the shipped output layers; those of one's own are asked when they are built."""
    node, task = config.get("output_layer"), config["task"]
    if not node or node["_target_"] == FULL:
        return
    name = node["_target_"].rpartition(".")[2]
    if task["_target_"] != LANGUAGE_MODELING:
        message = "is for language modelling, and the task has an output layer of its own"
        where = file("output_layer")
        yield Problem("output_layer", message, name, "output_layer=full", None, where)
    else:
        yield from _of_the_task(node["_target_"], task, file)
        yield from _cutoffs(node, file)


def _of_the_task(target: str, task: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    if target == ADAPTIVE and task["tie_weights"] is True:
        message = "shares one matrix, and output_layer=adaptive has one of another width a cluster"
        allowed = "false; or output_layer=full, sampled, nce"
        yield Problem("task.tie_weights", message, "true", allowed, None, file("task"))
    if target in (ADAPTIVE, *SAMPLED) and task["label_smoothing"] > 0:
        message = "spreads over all tokens, and this output layer computes few of them a step"
        value, allowed = str(task["label_smoothing"]), "0.0; or output_layer=full"
        yield Problem("task.label_smoothing", message, value, allowed, None, file("task"))


def _cutoffs(node: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    cutoffs = node.get("cutoffs")
    if not isinstance(cutoffs, list) or not all(isinstance(c, int) for c in cutoffs):
        return
    if not cutoffs or any(a >= b for a, b in pairwise(cutoffs)):
        field, message = "output_layer.cutoffs", "are no ranks that rise"
        allowed = "rising ranks below the vocabulary's size, as [2000, 10000]; or null"
        yield Problem(field, message, str(cutoffs), allowed, None, file(field))
