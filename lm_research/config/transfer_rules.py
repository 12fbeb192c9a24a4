"""What goes with ``init_from``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lm_research.config.problems import Problem

Plain = Mapping[str, Any]


def transfer_problems(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    """Of a run that starts from the weights of another."""
    transfer, trainer = config.get("transfer"), config["trainer"]
    if not isinstance(transfer, Mapping) or config.get("init_from") is None:
        return
    if trainer["devices"] > 1:
        message = "is for runs from scratch; one with init_from is of one process"
        yield Problem("trainer.devices", message, str(trainer["devices"]), "1")
    if trainer["find_batch_size"]:
        message = "tries out the first steps, and with init_from later ones may need more memory"
        yield Problem("trainer.find_batch_size", message, trainer["find_batch_size"], "null")
    yield from _freezing(config, transfer["freeze"], file)
    every = transfer["gradual_unfreezing"]
    if every == "epoch" and "epochs" not in config["task"]:
        message, allowed = (
            "goes by passes over documents, and this task has none",
            "a number of steps",
        )
        field = "transfer.gradual_unfreezing"
        yield Problem(field, message, "epoch", allowed, None, file(field))


def _freezing(config: Plain, freeze: Any, file: Callable[[str], str]) -> Iterator[Problem]:
    layers = config["model"].get("num_layers")
    field = "transfer.freeze"
    if isinstance(freeze, int) and isinstance(layers, int) and freeze > layers:
        message = f"is more than the model's layers ({layers})"
        yield Problem(
            field, message, str(freeze), f"1 to {layers}, vectorizer, encoder", None, file(field)
        )
    if config["transfer"]["gradual_unfreezing"] is not None and freeze in ("encoder", layers):
        message = "is never trained, so that gradual_unfreezing has nothing to unfreeze"
        allowed = "transfer.freeze=none, which begins with all of it frozen"
        yield Problem(field, message, str(freeze), allowed, None, file(field))
