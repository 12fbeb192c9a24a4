"""What goes with optimizers whose gradients of tables are sparse."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lm_research.config.problems import Problem

DENSE = {
    "lm_research.tasks.sparse_optimizers.SparseSGD": "sgd",
    "lm_research.tasks.sparse_optimizers.SparseAdagrad": "adagrad",
    "lm_research.tasks.sparse_optimizers.SparseAdadelta": "adadelta",
    "lm_research.tasks.sparse_adam.SparseAdam": "adam",
    "lm_research.tasks.sparse_adam.SparseAdamW": "adamw",
}
"""Optimizer -> the option with dense gradients to take in its place."""
Plain = Mapping[str, Any]


def sparse_problems(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    """Of a sparse optimizer with several processes, a shared matrix, or settings of its own."""
    node = config["optimizer"]
    if node["_target_"] not in DENSE:
        return
    name, dense = node["_target_"].rpartition(".")[2], f"optimizer={DENSE[node['_target_']]}"
    trainer = config["trainer"]
    if trainer["devices"] > 1 or trainer["strategy"] == "fsdp":
        message = "keeps gradients of tables sparse, which several processes cannot average"
        yield Problem("optimizer", message, name, f"{dense}; or trainer.devices=1", None)
    if config["task"].get("tie_weights"):
        message = "shares a table with the output layer, whose gradient is dense"
        allowed = f"false; or {dense}"
        yield Problem("task.tie_weights", message, "true", allowed, None, file("task"))
    yield from _settings(node, file)


def _settings(node: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    lazy = node.get("untouched") == "lazy"
    if lazy and node.get("weight_decay", 0) > 0:
        field = "optimizer.weight_decay"
        message = "would depend on how often a row is read, with untouched=lazy"
        allowed = "0; or optimizer.untouched=deferred"
        yield Problem(field, message, str(node["weight_decay"]), allowed, None, file(field))
    if "betas" in node and not lazy and node.get("eps") == 0:
        field, allowed = "optimizer.eps", "a number greater than 0"
        message = "divides rows that have had no gradient yet"
        yield Problem(field, message, str(node["eps"]), allowed, None, file(field))
