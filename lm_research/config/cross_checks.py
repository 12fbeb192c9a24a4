"""Rules beyond a type, or that join fields; they speak only where each field is sound itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lm_research.config.durations import FORMS, seconds_of
from lm_research.config.hypotheses import hypothesis_problems
from lm_research.config.mixture_rules import is_sampled, sampling_problems
from lm_research.config.optimizer_rules import sparse_problems
from lm_research.config.output_rules import output_problems
from lm_research.config.problems import Problem
from lm_research.config.task_rules import task_problems
from lm_research.config.transfer_rules import transfer_problems
from lm_research.config.visible import hidden

SPLIT_RULE = "splits.validation + splits.test below 1"
WANTS_FLOATS = ("torch.optim.Adam", "torch.optim.AdamW")
"""Classes that refuse an integer among their betas: a 0 must be written 0.0."""
PLATEAU = "lm_research.tasks.plateau.Plateau"
NON_MONOTONIC = "lm_research.callbacks.averaging.NonMonotonicAveraging"
MIXTURE = "lm_research.data.mixture.Mixture"
Plain = Mapping[str, Any]
File = Callable[[str], str]


def cross_checks(config: Plain, file: File) -> Iterator[Problem]:
    """Problems of a configuration whose fields have been looked at one by one.

    Args:
        config: plain containers.
        file: names the file of a field.
    """
    for name in ("output", "cache", "downloads"):
        if config.get(name) == "":
            yield Problem(name, "is empty", "", "a folder", file=file(name))
    for name, character in hidden(config):
        message = f"holds the invisible character {character}"
        yield Problem(name, message, None, "visible text", None, file(name))
    checks = (_time, _splits, _batch, _optimizer, _plateau, _rollback, _averaging, _mixture)
    studies = (_residual, _report, _hypotheses, _protocol)
    rules = (sparse_problems, task_problems, output_problems, transfer_problems)
    for check in (*checks, *studies, *rules):
        try:
            yield from check(config, file)
        except (KeyError, TypeError, AttributeError):
            continue  # a field is missing or of another kind: that has been told


def _report(config: Plain, file: File) -> Iterator[Problem]:
    report = (config.get("sweep") or {}).get("report")
    if isinstance(report, str) and not report.endswith(".html"):
        yield Problem("sweep.report", "is no HTML file", report, "FILE.html", None, file("sweep"))


def _hypotheses(config: Plain, file: File) -> Iterator[Problem]:
    yield from hypothesis_problems(
        (config.get("sweep") or {}).get("hypotheses") or [], file("sweep")
    )


def _protocol(config: Plain, file: File) -> Iterator[Problem]:
    """What is chosen for the scores of a finished run, by one that is to be trained."""
    if node := config.get("protocol"):
        message = "is how a finished run is scored, and this trains one"
        name = node["_target_"].rpartition(".")[2]
        allowed = "lm-research evaluate run=FOLDER protocol=..."
        yield Problem("protocol", message, name, allowed, None, file("protocol"))


def _splits(config: Plain, file: File) -> Iterator[Problem]:
    validation, test = config["splits"]["validation"], config["splits"]["test"]
    if validation < 1 and test < 1 <= validation + test:
        message = f"nothing is left for training ({validation} + {test})"
        yield Problem("splits", message, None, SPLIT_RULE)


def _mixture(config: Plain, file: File) -> Iterator[Problem]:
    """What a mixture asks of training time, and a member that asks for it: nobody would hear."""
    node = config["data"]
    if node["_target_"] != MIXTURE or not isinstance(node["weights"], Mapping):
        return
    for problem in sampling_problems(node):
        yield replace(problem, field=f"data.{problem.field}", file=file("data"))
    for name, member in node["sources"].items():
        if member.get("_target_") == MIXTURE and is_sampled(member):
            message = "is sampled while training, which a member of a mixture cannot be"
            allowed = "temperature, epochs and schedule of the outer mixture alone"
            yield Problem(f"data.sources.{name}", message, None, allowed, None, file("data"))


def _time(config: Plain, file: File) -> Iterator[Problem]:
    span, callbacks = config["max_time"], config["callbacks"]
    if not isinstance(span, str | int | float):
        return
    try:
        seconds_of(span)
    except ValueError:
        yield Problem("max_time", "is no span of time", str(span), FORMS, file=file("max_time"))
    if "checkpoint" not in callbacks:
        message = "stops a run at a checkpoint, and callbacks has none"
        yield Problem("max_time", message, str(span), "callbacks=default or quiet")


def _batch(config: Plain, file: File) -> Iterator[Problem]:
    devices, batch = config["trainer"]["devices"], config["budget"]["batch_size"]
    if isinstance(devices, int) and isinstance(batch, int) and devices > 0 and batch % devices:
        allowed = f"a multiple of trainer.devices = {devices}"
        yield Problem("budget.batch_size", "cannot be shared out", str(batch), allowed)


def _rollback(config: Plain, file: File) -> Iterator[Problem]:
    field = "callbacks.divergence.policy"
    if config["trainer"]["devices"] > 1 and config["callbacks"]["divergence"]["policy"] != "stop":
        message = f"is for one process, not for trainer.devices={config['trainer']['devices']}"
        yield Problem(field, message, "rollback", "stop", file=file(field))


def _averaging(config: Plain, file: File) -> Iterator[Problem]:
    if config.get("averaging") and config["trainer"]["strategy"] == "fsdp":
        message = "does not go with trainer.strategy=fsdp, which shares the weights out"
        yield Problem("averaging", message, None, "null, or trainer.strategy=ddp")
    node = config.get("averaging") or {}
    if node.get("_target_") == NON_MONOTONIC and "evaluation" not in config["callbacks"]:
        message = "begins by evaluations on the validation split, and callbacks has none"
        allowed = "callbacks=default or quiet; or averaging=uniform"
        name = NON_MONOTONIC.rpartition(".")[2]
        yield Problem("averaging", message, name, allowed, None, file("averaging"))


def _residual(config: Plain, file: File) -> Iterator[Problem]:
    """Sums of a layer's input and output, of other sizes."""
    model, field = config["model"], "model.last_hidden_size"
    last = model.get("last_hidden_size")
    if model.get("residual") and last not in (None, model["hidden_size"]):
        message = "is another size than that of the layer's input, which model.residual adds to it"
        allowed = f"null, or {model['hidden_size']}; or model.residual=false"
        yield Problem(field, message, str(last), allowed, None, file(field))


def _plateau(config: Plain, file: File) -> Iterator[Problem]:
    """A rate that falls by evaluations, without any; a counted model has no rate."""
    if config["scheduler"]["_target_"] == PLATEAU and "evaluation" not in config["callbacks"]:
        message = "goes by evaluations on the validation split, and callbacks has none"
        allowed = "callbacks=default or quiet; or another scheduler"
        yield Problem("scheduler", message, "Plateau", allowed, None, file("scheduler"))


def _optimizer(config: Plain, file: File) -> Iterator[Problem]:
    """What constructors of ``torch.optim`` refuse beyond the range of one argument."""
    node = config["optimizer"]
    if node["_target_"] == "torch.optim.SGD":
        yield from _nesterov(node, file)
    if node["_target_"].startswith(("torch.optim.", "lm_research.")) and isinstance(
        node.get("betas"), list
    ):
        yield from _betas(node, file)


def _nesterov(node: Plain, file: File) -> Iterator[Problem]:
    if node.get("nesterov") is not True:
        return
    if not node.get("momentum", 0) > 0:
        field, allowed = (
            "optimizer.momentum",
            "a number greater than 0, or optimizer.nesterov=false",
        )
    elif node.get("dampening", 0) != 0:
        field, allowed = "optimizer.dampening", "0, or optimizer.nesterov=false"
    else:
        return
    value = str(node.get(field.rpartition(".")[2], 0))
    yield Problem(field, "does not go with nesterov", value, allowed, None, file(field))


def _betas(node: Plain, file: File) -> Iterator[Problem]:
    betas, field = node["betas"], "optimizer.betas"
    if len(betas) != 2:
        message, allowed = f"holds {len(betas)}", "a list of two numbers within [0, 1)"
        yield Problem(field, message, str(betas), allowed, None, file(field))
    elif node["_target_"] in WANTS_FLOATS:
        for index, beta in enumerate(betas):
            # A 1 is out of range, and has been told.
            if beta == 0 and type(beta) is int:
                item = f"{field}.{index}"
                yield Problem(item, "torch refuses an integer", "0", "0.0", None, file(item))
