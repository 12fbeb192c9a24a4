"""A study's dashboard: made with no server, saved to one on loopback, the same each time."""

import json
import subprocess
import sys

import pytest
import wandb_workspaces.workspaces as ws
from wandb_workspaces.workspaces import internal

from lm_research.analysis.panels import study_sections
from lm_research.tracking import wandb_dashboard
from lm_research.tracking.wandb_dashboard import DashboardError, Study, save, workspace_json

SECTIONS = study_sections("val/bits_per_byte", ["data", "model"], ["code", "tweets"])
STUDY = Study("demo", "Which data?", "Does it matter?", "lm_research", "me", SECTIONS)


def drawn(dashboard):
    sections = dashboard["spec"]["section"]["panelBankConfig"]["sections"]
    return [(panel["viewType"], panel["config"]) for s in sections for panel in s["panels"]]


def test_every_panel_is_drawn_and_only_the_runs_of_the_study_are_shown():
    dashboard = workspace_json(STUDY)
    kinds = [kind for kind, _ in drawn(dashboard)]
    assert len(kinds) == sum(len(section.panels) for section in SECTIONS)
    assert set(kinds) == {
        "Bar Chart", "Run History Line Plot", "Parallel Coordinates Plot", "Scatter Plot", "Weave",
    }  # fmt: skip
    config = dict(drawn(dashboard))["Bar Chart"]
    assert (config["groupAgg"], config["groupArea"]) == ("mean", "stddev")
    (runs,) = dashboard["spec"]["section"]["runSets"]
    (shown,) = runs["filters"]["filters"]
    assert (shown["key"]["name"], shown["op"], shown["value"]) == ("group", "=", "demo")


def test_it_is_what_the_package_reads_and_the_same_each_time():
    dashboard = workspace_json(STUDY)
    assert dashboard == workspace_json(STUDY)
    read = ws.Workspace._from_model(internal.View.model_validate(dashboard))
    assert [section.name for section in read.sections] == [section.title for section in SECTIONS]
    identities = [text for text in json.dumps(dashboard).split('"') if text.startswith("panel-")]
    assert len(identities) == len(set(identities)) > 10


def test_without_the_extra_the_fix_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(DashboardError, match=r"pip install 'lm-research\[dashboards\]'"):
        workspace_json(STUDY)


def test_saved_with_a_report(tmp_path, wandb_server, apart, monkeypatch):
    for name, value in apart(tmp_path, wandb_server.url).items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", "from lm_research.cli.main import main; main()",
         "dashboard", "sweep=demo", "--save", "tracking.entity=me"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    workspace, report = done.stdout.split()
    assert "nw=" in workspace
    assert "/reports/" in report
    kinds = {view["type"]: json.loads(view["spec"]) for view in wandb_server.views.values()}
    assert set(kinds) == {"project-view", "runs"}
    grids = [block for block in kinds["runs"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == 5


def test_no_key_is_told(monkeypatch):
    monkeypatch.setattr(wandb_dashboard, "require_credentials", _refuse)
    with pytest.raises(DashboardError, match="Which data\\?: not saved: no API key"):
        save(STUDY)


def _refuse(wandb):
    raise RuntimeError("no API key")
