"""A study's dashboard: made with no server, saved to one on loopback, the same each time."""

import json
import subprocess
import sys

import pytest
import wandb_workspaces.workspaces as ws
from wandb_workspaces.workspaces import internal

from lm_research.analysis.panels import study_sections
from lm_research.cli import dashboard
from lm_research.config.paths import studies
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
    config = next(config for kind, config in drawn(dashboard) if kind == "Bar Chart")
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


AGAINST = {("model/parameters", True), ("train/flops", True), ("perf/train_s", True)}
KINDS = {
    "data_sources": {"Sources"},
    "vectorization": {"Vectorization", "Architectures"},
    "architectures": {"Architectures"},
    "architectures_flops": {"Architectures"},
    "scaling": {"Scaling"},
    "tune_lstm": {"Search"},
    "mixtures": {"Sources"},
    "classification": {"Sources", "Vectorization", "Architectures"},
    "demo": {"Sources", "Vectorization", "Architectures"},
    "transfer": {"Sources"},
    "headlines": {"Vectorization"},
    "study_sources": {"Sources"},
    "study_counts": {"Sources"},
    "study_units": {"Vectorization", "Architectures"},
    "study_vectors": {"Vectorization", "Architectures"},
    "study_bags": {"Vectorization", "Architectures"},
    "study_documents": {"Sources", "Vectorization", "Architectures"},
    "study_sizes": {"Architectures", "Scaling"},
    "study_kernels": {"Architectures"},
}
ON_THEMSELVES = {"classification", "transfer", "study_documents"}
"""Studies whose sources are scored on their own documents alone: no matrix."""
BY_VECTORS = (
    {"choices.value.vectorizer"},
    {"choices.value.text"},
    {f"vectorizer.value.{field}" for field in ("weighting", "window", "with_last")},
)
"""What a study's vectors differ in."""
COMMON = {"Answer", "Learning", "Interactions", "Cost", "Samples"}


def described(name, capsys):
    """What `lm-research dashboard` prints, as the package reads it, and its JSON."""
    assert dashboard.run([f"sweep={name}"]) == 0
    text = json.loads(capsys.readouterr().out)
    return text, ws.Workspace._from_model(internal.View.model_validate(text))


def test_each_shipped_study_has_the_panels_of_its_kind(capsys):
    assert set(KINDS) == {name for name, _ in studies("sweeps")}
    for name, kinds in KINDS.items():
        found, read = described(name, capsys)
        assert {section.name for section in read.sections} - COMMON == kinds
        sections = found["spec"]["section"]["panelBankConfig"]["sections"]
        panels = {s["name"]: [(p["viewType"], p["config"]) for p in s["panels"]] for s in sections}
        assert all(panels[kind] for kind in kinds)
        for kind in kinds - ({"Sources"} if name in ON_THEMSELVES else set()):
            CHECKS[kind](panels[kind])


def _check_sources(panels):
    kinds = [kind for kind, _ in panels]
    assert kinds[0] == "Weave"  # the matrix
    bars = [config for kind, config in panels if kind == "Bar Chart"]
    assert {config["groupBy"] for config in bars} == {"data.value.name"}
    assert all(config["metrics"][0].startswith("summary_metrics.eval/") for config in bars)
    assert panels[-1][1]["groupBy"] == "data.value.name"


def _check_vectorization(panels):
    assert panels[0][0] == "Bar Chart"
    assert "groupBy" not in panels[0][1]  # the workspace's groups: vectorizer and model
    assert {config["xAxis"] for kind, config in panels[1:]} == {"tokens", "seconds"}
    grouped = {config["groupBy"] for kind, config in panels[1:]}
    assert grouped in BY_VECTORS


def _scatters(panels):
    return {
        (config["xAxis"].removeprefix("summary:"), config["xAxisLogScale"], config["yAxisLogScale"])
        for kind, config in panels
        if kind == "Scatter Plot"
    }


def _check_architectures(panels):
    assert _scatters(panels) == {(x, log, False) for x, log in AGAINST}


def _check_scaling(panels):
    tokens = {("tokens", True, True)}  # alone where architectures are compared at each cost anyway
    assert _scatters(panels) in (tokens, tokens | {(x, log, True) for x, log in AGAINST})


def _check_search(panels):
    (parallel, lines), (importance, wanted) = panels
    assert (parallel, importance) == ("Parallel Coordinates Plot", "Parameter Importance")
    assert [column["accessor"] for column in lines["columns"]][-1].endswith("val/bits_per_byte")
    assert len(lines["columns"]) == 4
    assert "val/bits_per_byte" in json.dumps(wanted)


CHECKS = {
    "Sources": _check_sources,
    "Vectorization": _check_vectorization,
    "Architectures": _check_architectures,
    "Scaling": _check_scaling,
    "Search": _check_search,
}


def test_runs_are_grouped_by_setting_and_trials_are_not(capsys):
    for name, groups in (("vectorization", 2), ("demo", 3), ("tune_lstm", 0)):
        found, _ = described(name, capsys)
        assert len(found["spec"]["section"]["runSets"][0]["grouping"]) == groups


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
    assert len(grids) == 8
    by = [f"config:{name}" for name in ("data.value.name", "choices.value.vectorizer")]
    for grid in grids:
        keys = grid["metadata"]["runSets"][0]["grouping"]
        assert [f"{key['section']}:{key['name']}" for key in keys][:2] == by


def test_no_key_is_told(monkeypatch):
    monkeypatch.setattr(wandb_dashboard, "require_credentials", _refuse)
    with pytest.raises(DashboardError, match="Which data\\?: not saved: no API key"):
        save(STUDY)


def _refuse(wandb):
    raise RuntimeError("no API key")
