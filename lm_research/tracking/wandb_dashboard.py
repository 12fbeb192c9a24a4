"""A study's dashboard in W&B: ``analysis.panels`` as a workspace, and as a report.

A workspace is made, checked and printed with no server. A report refers to its project by a number
that only the server knows, so it is made when it is saved. Needs the extra ``dashboards``
(wandb-workspaces).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_research.analysis.panels import Panel, Section
from lm_research.tracking.wandb_sdk import end_bounded, environment_kept, require_credentials

EXTRA = "pip install 'lm-research[dashboards]'"
WIDTH, HEIGHT = 8, 6
"""A panel on the report's grid of 24 columns."""


class DashboardError(Exception):
    """A dashboard that cannot be made or saved; says why."""


@dataclass(frozen=True)
class Study:
    """What a dashboard is of.

    Attributes:
        name: the runs' group in W&B.
        title, question: heading, and what is asked.
        project, entity: in W&B.
        sections: what is shown.
        grouped: configuration fields by which its runs are grouped, so that a group is a setting
            and its runs are the seeds; none: each run stands by itself.
    """

    name: str
    title: str
    question: str
    project: str
    entity: str
    sections: Sequence[Section]
    grouped: Sequence[str] = ()


def workspace_json(study: Study) -> dict[str, Any]:
    """The workspace as W&B stores it; the same study gives the same JSON.

    Raises:
        DashboardError: the extra is not installed.
    """
    return _numbered(_workspace(study)._to_model().model_dump(mode="json", by_alias=True))


def save(study: Study) -> tuple[str, str]:
    """Save both in W&B; returns the links to the workspace and to the report.

    Raises:
        DashboardError: no key, no server, or the extra is not installed.
    """
    with environment_kept():
        import wandb

        try:
            require_credentials(wandb)
            end_bounded()
            workspace = _workspace(study).save()
            report = _report(study).save()
        except (RuntimeError, ValueError, wandb.Error) as error:
            raise DashboardError(f"{study.title}: not saved: {error}") from error
    return str(workspace.url), str(report.url)


def _workspace(study: Study) -> Any:
    ws, wr = _packages()
    sections = [
        ws.Section(name=s.title, panels=[draw(p, wr) for p in s.panels], is_open=True)
        for s in study.sections
    ]
    return ws.Workspace(
        name=study.title,
        entity=study.entity,
        project=study.project,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="tokens", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == study.name],
            groupby=[ws.Config(name) for name in study.grouped],
        ),
    )


def _report(study: Study) -> Any:
    _, wr = _packages()
    blocks = [wr.P(study.question)]
    for section in study.sections:
        runs = wr.Runset(
            study.entity,
            study.project,
            filters=f"Metric('Group') == '{study.name}'",
            groupby=[f"config.{name}" for name in study.grouped],
        )
        panels = [draw(panel, wr) for panel in section.panels]
        for place, panel in enumerate(panels):
            column, row = place % 3 * WIDTH, place // 3 * HEIGHT
            panel.layout = wr.Layout(x=column, y=row, w=WIDTH, h=HEIGHT)
        blocks += [wr.H2(section.title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        project=study.project,
        entity=study.entity,
        title=study.title,
        description=study.question,
        blocks=blocks,
    )


def draw(panel: Panel, wr: Any) -> Any:
    """One panel as W&B's."""
    return _DRAWN[panel.kind](panel, wr)


def _curve(panel: Panel, wr: Any) -> Any:
    grouped = {"groupby": panel.group, "groupby_rangefunc": "stddev"} if panel.group else {}
    return wr.LinePlot(title=panel.title, x=panel.x, y=[panel.y], log_x=panel.log_x, **grouped)


def _bars(panel: Panel, wr: Any) -> Any:
    grouped: dict[str, Any] = {}
    if panel.group:
        by = wr.Config(panel.group)
        grouped = {"groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    return wr.BarPlot(title=panel.title, metrics=[wr.SummaryMetric(panel.y)], **grouped)


def _scatter(panel: Panel, wr: Any) -> Any:
    x, y = wr.SummaryMetric(panel.x), wr.SummaryMetric(panel.y)
    return wr.ScatterPlot(title=panel.title, x=x, y=y, log_x=panel.log_x, log_y=panel.log_y)


def _table(panel: Panel, wr: Any) -> Any:
    return wr.WeavePanelSummaryTable(table_name=panel.y)


def _parallel(panel: Panel, wr: Any) -> Any:
    names = [*map(wr.Config, panel.axes), wr.SummaryMetric(panel.y)]
    columns = [wr.ParallelCoordinatesPlotColumn(name) for name in names]
    return wr.ParallelCoordinatesPlot(title=panel.title, columns=columns)


def _importance(panel: Panel, wr: Any) -> Any:
    return wr.ParameterImportancePlot(with_respect_to=panel.y)


_DRAWN: dict[str, Callable[[Panel, Any], Any]] = {
    "curve": _curve,
    "bars": _bars,
    "scatter": _scatter,
    "table": _table,
    "parallel": _parallel,
    "importance": _importance,
}


def _packages() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise DashboardError(f"W&B dashboards need wandb-workspaces: {EXTRA}") from error
    return workspaces, reports


def _numbered(value: Any, path: str = "panel") -> Any:
    """The package gives panels random names; ours follow from where they stand."""
    if isinstance(value, dict):
        return {
            key: path if key == "__id__" else _numbered(item, f"{path}-{key}")
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_numbered(item, f"{path}-{place}") for place, item in enumerate(value)]
    return value
