"""Constructor annotations read from source text equal those of the imported classes."""

import inspect
import sys
import typing
from typing import Any

import pytest

from lm_research.config.signatures import TargetError, parameters
from lm_research.config.types import PositiveInt


@pytest.mark.parametrize("target", ["torch.optim.Adam", "torch.optim.SGD", "torch.optim.RMSprop"])
def test_names_and_defaults_equal_inspection(target):
    import torch

    cls = getattr(torch.optim, target.rpartition(".")[2])
    expected = {
        name: p.default is inspect.Parameter.empty
        for name, p in inspect.signature(cls.__init__).parameters.items()
        if name != "self"
    }
    assert {name: p.required for name, p in parameters(target).items()} == expected


def test_inherited_constructor_is_found():
    known = parameters("lm_research.tasks.schedules.Constant")
    assert list(known) == ["steps", "warmup_steps"]
    assert not known["warmup_steps"].required


def test_ranges_and_unions_survive():
    known = parameters("lm_research.callbacks.checkpoint.Checkpoint")
    assert PositiveInt in typing.get_args(known["every"].annotation)
    assert known["monitor"].annotation is str


def test_literals_from_another_module():
    known = parameters("lm_research.data.document.Source")
    assert "books" in typing.get_args(known["category"].annotation)


def test_own_class_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "my_models_for_signatures.py").write_text(
        "class Base:\n"
        "    def __init__(self, width: int, names: list[str], scale: float = 1.0): ...\n"
        "class Mine(Base): ...\n"
        "class Odd:\n    def __init__(self, thing: 'int | None', other: SomethingUnknown): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = parameters("my_models_for_signatures.Mine")
    assert mine["names"].annotation == list[str]
    assert mine["width"].required
    assert not mine["scale"].required
    odd = parameters("my_models_for_signatures.Odd")
    assert set(typing.get_args(odd["thing"].annotation)) == {int, type(None)}
    assert odd["other"].annotation is Any
    assert "my_models_for_signatures" not in sys.modules


NOTHING = [
    "no_such_package.X",
    "lm_research.models.nothing.X",
    f"lm_research.{'long' * 99}.X",  # longer than a file's name may be
    "torch.optim.Nothing",
]


@pytest.mark.parametrize("target", NOTHING)
def test_a_target_that_names_nothing(target):
    with pytest.raises(
        TargetError, match=target.rpartition(".")[0] if "optim" not in target else "Nothing"
    ):
        parameters(target)
