"""A study rendered as a W&B sweep, and handed out by a real agent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from lm_research.cli.sweep import run as sweep_command
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_sweep import wandb_sweep

PARAMETERS = {"model": ["rnn", "lstm"], "optimizer.lr": ["0.01", "1e-3"], "seed": ["1", "2"]}
STUDY = """
sweep:
  {name: sizes, title: S, question: Q, metric: val/bits_per_byte, direction: minimize,
  report: r.html, grid: {model.hidden_size: [4, 8]}}
output: out
"""


def test_the_study_is_a_grid_whose_agents_run_our_command():
    spec = wandb_sweep("demo", PARAMETERS, ["sweep=demo"], "val/bits_per_byte", "minimize")
    assert (spec["name"], spec["method"]) == ("demo", "grid")
    assert spec["metric"] == {"name": "val/bits_per_byte", "goal": "minimize"}
    assert spec["parameters"]["model"] == {"values": ["rnn", "lstm"]}
    assert spec["parameters"]["seed"] == {"values": [1, 2]}
    assert spec["command"][2:] == ["sweep", "sweep=demo", "tracking=online", "${args_no_hyphens}"]


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
    tmp_path, wandb_server, apart, tiny, monkeypatch, capsys
):
    for name, value in apart(tmp_path, wandb_server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/sizes.yaml").write_text(STUDY)
    small = [override for override in tiny if not override.startswith("tracking")]
    assert sweep_command(["sweep=sizes", *small, "--backend", "wandb"]) == 0
    sweep = capsys.readouterr().out.split()[-1]
    assert sweep == "me/lm_research/s0"
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "agent", sweep],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    places = [next(tmp_path.glob(f"out/model.hidden_size-{size}--seed-1--*")) for size in (4, 8)]
    folders = [RunFolder(place) for place in places]
    assert [folder.status.state for folder in folders] == ["done", "done"], done.stderr
    assert [folder.status.id for folder in folders] == ["given0", "given1"]
    for folder in folders:
        run = wandb_server.runs[folder.status.id]
        assert run["variables"]["sweep"] == "s0"
        assert run["complete"] == [0]
        assert run["rows"][-1]["_step"] == folder.metrics.last["step"]
