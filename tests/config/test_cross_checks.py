"""Optimizer arguments are refused exactly where torch's constructors refuse them."""

import itertools
import re

import pytest

from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.cross_checks import cross_checks
from lm_research.config.problems import ConfigError
from lm_research.config.schema import Run
from lm_research.config.validation import validate

NUMBERS = [-1, -1e-9, 0, 0.0, 1e-8, 0.5, 1, 1.0, 2.5]
BETAS = [0, 0.0, 0.5, 1, 1.0, 1.5, -0.1]
ADAM = [
    *({"eps": number} for number in NUMBERS),
    *({"weight_decay": number} for number in NUMBERS),
    *({"betas": list(pair)} for pair in itertools.product(BETAS, BETAS)),
]
SGD = [
    {"momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": decay}
    for momentum in NUMBERS
    for dampening in (0, 0.0, 0.5)
    for nesterov in (True, False)
    for decay in (-0.5, 0, 0.5)
]


def told(node: dict) -> dict[str, str | None]:
    """Field -> value of what validation says about an optimizer."""
    found = validate({"optimizer": node}, {}, lambda field: "conf/config.yaml")
    return {p.field: p.value for p in found if p.field.startswith("optimizer")}


def torch_accepts(node: dict) -> bool:
    import torch

    arguments = {k: v for k, v in node.items() if k != "_target_"}
    cls = getattr(torch.optim, node["_target_"].rpartition(".")[2])
    try:
        cls([torch.nn.Parameter(torch.zeros(2))], **arguments)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("arguments", ADAM, ids=str)
def test_adam_agrees_with_torch(name, arguments):
    node = {"_target_": f"torch.optim.{name}", "lr": 0.1, **arguments}
    assert (not told(node)) == torch_accepts(node)


def test_sgd_agrees_with_torch():
    for arguments in SGD:
        node = {"_target_": "torch.optim.SGD", "lr": 0.1, **arguments}
        assert (not told(node)) == torch_accepts(node), arguments


def test_what_is_accepted_is_built():
    import torch

    node = {"_target_": "torch.optim.AdamW", "lr": 0.1, "betas": [0.0, 0.9], "eps": 0}
    assert told(node) == {}
    optimizer = build(node, params=[torch.nn.Parameter(torch.zeros(2))])
    assert list(optimizer.param_groups[0]["betas"]) == [0.0, 0.9]


KERAS = "lm_research.tasks.keras_adam.KerasAdam"


@pytest.mark.parametrize("target", ["torch.optim.Adam", KERAS])
@pytest.mark.parametrize("betas", [[], [0.9], [0.9, 0.9, 0.9]])
def test_two_betas(target, betas):
    """Torch fails on these with an IndexError, or at the first step."""
    node = {"_target_": target, "lr": 0.1, "betas": betas}
    assert told(node) == {"optimizer.betas": str(betas)}


def test_an_integer_beta_is_fine_where_torch_takes_it():
    node = {"_target_": "torch.optim.NAdam", "lr": 0.1, "betas": [0, 0.9]}
    assert told(node) == {}
    assert torch_accepts(node)


def test_eps_of_adafactor_is_a_pair():
    node = {"_target_": "torch.optim.Adafactor", "lr": 0.1, "eps": [None, 0.001]}
    assert told(node) == {}
    assert torch_accepts(node)


@pytest.mark.parametrize("target", ["torch.optim.SGD", KERAS])
@pytest.mark.parametrize(
    ("lr", "sound"),
    [(0, False), (-1, False), (1e-8, True), (20, True), (1000, True), (1001, False), (1e5, False)],
)
def test_learning_rate(target, lr, sound):
    assert (not told({"_target_": target, "lr": lr})) == sound


def test_nesterov_says_which_field_to_mend():
    node = {"_target_": "torch.optim.SGD", "lr": 1.0, "nesterov": True}
    assert told(node) == {"optimizer.momentum": "0"}
    assert told({**node, "momentum": 0.9, "dampening": 0.1}) == {"optimizer.dampening": "0.1"}
    assert told({**node, "momentum": 0.9}) == {}


@pytest.mark.parametrize("broken", [None, 3, "x", [], {}, {"_target_": 3}])
@pytest.mark.parametrize("name", list(Run.__annotations__))
def test_rules_are_silent_about_fields_of_another_kind(name, broken):
    """Those have been told already, one by one."""
    config = {
        "splits": {"validation": 0.1, "test": 0.1},
        "trainer": {"devices": 1},
        "budget": {"batch_size": 1},
        "optimizer": {"_target_": "torch.optim.SGD", "nesterov": False},
    }
    assert list(cross_checks({**config, name: broken}, str)) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (["trainer.devices=2", "budget.batch_size=8"], "optimizer=SparseAdam"),
        (["task.tie_weights=true"], "task.tie_weights=true"),
        (["optimizer.untouched=lazy", "optimizer.weight_decay=0.1"], "optimizer.weight_decay=0.1"),
        (["optimizer.eps=0"], "optimizer.eps=0"),
    ],
)
def test_what_does_not_go_with_sparse_gradients_is_told(given, field):
    with pytest.raises(ConfigError, match=field):
        compose(["optimizer=sparse_adam", *given])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["task.unscored=3"], "task.carry_state=true: would take in twice what task.unscored=3"),
        (["task.unscored=64", "task.carry_state=false"], "task.unscored=64: leaves nothing"),
        (
            ["task.unscored=3", "task.carry_state=false", "task.predict=last"],
            "task.unscored=3: is of windows that are scored at every position",
        ),
        (["task.eval_stride=2000"], "task.eval_stride=2000: leaves tokens between the windows"),
        (["task.unscored=-1"], "task.unscored=-1: is out of range"),
        (["task.eval_batches=-1"], "task.eval_batches=-1: is out of range"),
    ],
)
def test_windows_of_training_and_evaluation(overrides, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        compose(overrides)


def test_windows_that_go_together():
    told = ["task.unscored=63", "task.carry_state=false", "task.eval_window=64"]
    assert compose([*told, "task.eval_stride=64"]).config["task"]["unscored"] == 63
