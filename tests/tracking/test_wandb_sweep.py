"""A study rendered as a W&B sweep, and handed out by a real agent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_sweep import create_wandb_sweep, wandb_sweep

PARAMETERS = {"model": ["rnn", "lstm"], "optimizer.lr": ["0.01", "1e-3"], "seed": ["1", "2"]}
OTHERS = ("output", "tracking", "trainer", "callbacks", "callbacks.samples.length", "budget")
"""What all of them share: no part of a folder's name."""


BUDGET = [f"budget.{name}" for name in ("train_tokens", "batch_size", "window", "hidden_size")]
BUDGET += ["budget.train_bytes", "budget.eval_bytes"]


def test_the_study_is_a_grid_whose_agents_run_our_command():
    spec = wandb_sweep("demo", PARAMETERS, ["sweep=demo"], "val/bits_per_byte", "minimize")
    assert (spec["name"], spec["method"]) == ("demo", "grid")
    assert spec["metric"] == {"name": "val/bits_per_byte", "goal": "minimize"}
    assert spec["parameters"]["model"] == {"values": ["rnn", "lstm"]}
    assert spec["parameters"]["seed"] == {"values": [1, 2]}
    assert spec["command"][2:] == ["train", "sweep=demo", "tracking=online", "${args_no_hyphens}"]


@pytest.mark.parametrize(
    "value", ["1", "0.01", "1e-3", "007", "true", "[code,tweets]", "nan", "a b"]
)
def test_an_agent_types_each_value_as_it_stands_in_the_study(value):
    spec = wandb_sweep("s", {"key": [value]}, [], "m", "maximize")
    handed = {"args": {"key": {"value": spec["parameters"]["key"]["values"][0]}}}
    assert create_sweep_command_args(handed)["args_no_hyphens"] == [f"key={value}"]
    OverridesParser.create().parse_override(f"key={value}")


@pytest.mark.parametrize(
    ("parameters", "goal", "told"),
    [({}, "minimize", "all without values"), ({"seed": []}, "minimize", "seed without values"),
     ({"seed": ["1"]}, "min", "use 'minimize' or 'maximize'")],
)  # fmt: skip
def test_what_is_no_sweep_is_told(parameters, goal, told):
    with pytest.raises(ValueError, match=told):
        wandb_sweep("s", parameters, [], "m", goal)


@pytest.mark.slow
def test_an_agent_trains_every_point_under_the_ids_that_it_was_given(
    tmp_path, wandb_server, apart, tiny, monkeypatch
):
    for name, value in apart(tmp_path, wandb_server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    runs = tmp_path / "runs"
    small = [override for override in tiny if not override.startswith("tracking")]
    fixed = ["-m", *small, f"output={runs}", "hydra.sweep.subdir='${hydra:job.override_dirname}'"]
    fixed += [f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*OTHERS, *BUDGET])}]"]
    parameters = {"model.hidden_size": ["4", "8"], "seed": ["1"]}
    spec = wandb_sweep("sizes", parameters, fixed, "val/bits_per_byte", "minimize")
    sweep = create_wandb_sweep(spec)
    assert sweep == "me/lm_research/s0"
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "agent", sweep],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    folders = [RunFolder(runs / f"model.hidden_size={size},seed=1") for size in (4, 8)]
    assert [folder.status.state for folder in folders] == ["done", "done"], done.stderr
    assert [folder.status.id for folder in folders] == ["given0", "given1"]
    for folder in folders:
        run = wandb_server.runs[folder.status.id]
        assert run["variables"]["sweep"] == "s0"
        assert run["complete"] == [0]
        assert run["rows"][-1]["_step"] == folder.metrics.last["step"]
