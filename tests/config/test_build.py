"""What a config may name, and what becomes of its nodes."""

import sys

import pytest

from lm_research.config.build import (
    EXTRA,
    BuildError,
    build,
    import_targets,
    is_allowed,
    locate,
)

LSTM = "lm_research.models.lstm.LSTM"
CLASSES = """
from os import system
from subprocess import Popen


class Box:
    def __init__(self, value, label="none"):
        if value == "bad":
            raise ValueError("value is bad")
        if value == "worse":
            raise RuntimeError("no luck")
        self.value, self.label = value, label


class Empty: ...


def function(value):
    return value
"""


@pytest.fixture
def boxes(tmp_path, monkeypatch):
    """A package of the user's own, allowed by the environment."""
    (tmp_path / "boxes_for_build.py").write_text(CLASSES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(EXTRA, "something_else, boxes_for_build")
    yield "boxes_for_build"
    sys.modules.pop("boxes_for_build", None)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Linear",
        "torch.optimizers.Adam",
        "torch.optim",
        "pytorch_lightning.Trainer",
        "lm_researchers.evil.Class",
        "lm_research",
        "lm_research.config..build",
        "lm_research.models.lstm.LSTM()",
        " os.system",
        "",
        None,
        3,
        ["os.system"],
        {"_target_": "os.system"},
    ],
)
def test_not_on_the_allow_list(target):
    assert not is_allowed(target)
    with pytest.raises(BuildError, match="not on the allow-list") as caught:
        build({"_target_": target, "command": "false"})
    assert EXTRA in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "lm_research.config.build.os.system",  # a module reached through one of ours
        "lm_research.config.build.importlib.import_module",
        "lm_research.config.build.locate",  # a function
        "lm_research.config.build.ALLOWED",
        "torch.optim.adam.Tensor",  # a class that the module has imported
        "torch.optim.optimizer.OrderedDict",
        "torch.optim.lr_scheduler.Counter",
        "lm_research.config.build.Mapping",
        "pytorch_lightning.callbacks.timer.timedelta",
        "lm_research.nothing.Class",
        "torch.optim.Nothing",
    ],
)
def test_below_an_allowed_name_only_its_own_classes(target):
    assert is_allowed(target)  # the name alone would do
    with pytest.raises(BuildError, match="_target_"):
        locate(target)


def test_an_allowed_class_is_built():
    import torch

    weights = [torch.nn.Parameter(torch.zeros(2))]
    optimizer = build({"_target_": "torch.optim.SGD", "lr": 0.5}, params=weights, unused=1)
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_ones_own_package_needs_the_environment(boxes, monkeypatch):
    assert build({"_target_": f"{boxes}.Box", "value": 3}).value == 3
    assert not is_allowed(f"{boxes}_too.Box")
    monkeypatch.delenv(EXTRA)
    with pytest.raises(BuildError, match="not on the allow-list"):
        build({"_target_": f"{boxes}.Box", "value": 3})


@pytest.mark.parametrize("value", ["", " ", ",", ", ,"])
def test_an_empty_environment_allows_nothing_more(monkeypatch, value):
    monkeypatch.setenv(EXTRA, value)
    assert not is_allowed("os.system")
    assert not is_allowed(".os.system")


def test_functions_are_not_called(boxes):
    with pytest.raises(BuildError, match="is not a class"):
        build({"_target_": f"{boxes}.function", "value": 1})
    with pytest.raises(BuildError, match="is not a class"):
        build({"_target_": f"{boxes}.system", "command": "false"})


def test_nested_nodes_are_built_inside_out(boxes):
    box = {"_target_": f"{boxes}.Box"}
    node = {**box, "value": [{**box, "value": 1}, {"deep": {**box, "value": 2}}, "text", None]}
    first, mapping, text, nothing = build(node).value
    assert (first.value, mapping["deep"].value, text, nothing) == (1, 2, "text", None)
    assert build({"a": {**box, "value": 1}})["a"].value == 1
    assert node["value"][0] == {**box, "value": 1}  # the config is as it was


def test_a_forbidden_node_inside_an_allowed_one(boxes):
    node = {"_target_": f"{boxes}.Box", "value": [{"x": {"_target_": "os.system", "command": "x"}}]}
    with pytest.raises(BuildError, match=r"os\.system is not on the allow-list"):
        build(node)


def test_plain_values_stay():
    assert build({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
    assert build(None) is None
    assert build("os.system") == "os.system"


def test_runtime_arguments_go_to_the_outermost_only(boxes):
    box = {"_target_": f"{boxes}.Box"}
    built = build({**box, "value": {**box, "value": 1}}, label="given", unknown=1)
    assert (built.label, built.value.label) == ("given", "none")


def test_what_is_both_given_and_configured_is_refused(boxes):
    with pytest.raises(BuildError, match="label"):
        build({"_target_": f"{boxes}.Box", "value": 1, "label": "x"}, label="given")


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_hydras_keys_mean_nothing(boxes, key):
    with pytest.raises(BuildError, match=key):
        build({"_target_": f"{boxes}.Box", "value": 1, key: True})


def test_errors_of_a_constructor_name_the_class_and_the_argument(boxes):
    with pytest.raises(BuildError, match=r"boxes_for_build\.Box refused.*value is bad"):
        build({"_target_": f"{boxes}.Box", "value": "bad"})
    with pytest.raises(BuildError, match=r"boxes_for_build\.Box refused.*'value'"):
        build({"_target_": f"{boxes}.Box"})
    with pytest.raises(BuildError, match=r"boxes_for_build\.Empty refused"):
        build({"_target_": f"{boxes}.Empty", "value": 1})
    with pytest.raises(RuntimeError, match="no luck"):  # no matter of the configuration
        build({"_target_": f"{boxes}.Box", "value": "worse"})


def test_errors_of_a_model_name_the_field():
    with pytest.raises(BuildError, match=rf"{LSTM} refused its arguments: .*dropout"):
        build({"_target_": LSTM, "hidden_size": 4, "dropout": 1.5}, input_size=4)


def test_targets_are_imported_ahead_but_ones_own_code_is_not(boxes, monkeypatch):
    name = "lm_research.text.markup"
    monkeypatch.delitem(sys.modules, name, raising=False)
    inner = {"_target_": f"{name}.RemoveMarkup"}
    own = {"_target_": f"{boxes}.Box", "value": inner}
    import_targets({"mine": [own], "none": None})
    assert name in sys.modules
    assert boxes not in sys.modules
