"""Still pictures: sound XML, with every mark where the scale has it."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from lm_research.analysis import plots
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import bars, figure, label
from lm_research.analysis.plots.sizes import sizes_plot
from lm_research.analysis.plots.svg import to_svg
from lm_research.analysis.plots.svg_axis import axis_of
from lm_research.analysis.runs import find_runs
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawn: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(drawn))


def circles(root: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]


def scatter(x, y, **more) -> Figure:
    drawn = figure("t", 300, "x", "y")
    drawn.add_scatter(x=x, y=y, mode="markers", **more)
    return drawn


def test_points_stand_where_a_linear_scale_has_them() -> None:
    (a, b, c) = circles(parsed(scatter([0, 1, 4], [10, 20, 20])))
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(1 / 4, abs=1e-3)
    assert b[1] == c[1] < a[1]  # up is more


def test_points_stand_where_a_logarithmic_scale_has_them() -> None:
    drawn = scatter([1000, 10_000, 20_000], [1, 1, 1])
    drawn.update_xaxes(type="log")
    (a, b, c) = circles(parsed(drawn))
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(1 / math.log10(20), abs=1e-3)


def test_intervals_reach_their_ends_and_not_beyond_the_plot() -> None:
    estimates = [Estimate(1.0, 3, 0.1, 0.5, 2.0), Estimate(2.0, 3, 0.1, -50.0, 50.0)]
    drawn = scatter([1.0, 2.0], [0, 1], error_x=bars(estimates, "#123456"))
    drawn.update_xaxes(range=[0, 3])
    root = parsed(drawn)
    (one, two) = circles(root)
    unit = two[0] - one[0]
    lines = [p for p in root.iter(f"{SVG}polyline") if p.get("stroke") == "#123456"]
    ends = [[float(n) for n in re.findall(r"[-\d.]+", line.get("points"))][::2] for line in lines]
    assert ends[0] == pytest.approx([one[0] - 0.5 * unit, one[0] + unit], abs=0.11)
    assert ends[1] == pytest.approx([one[0] - unit, one[0] + 2 * unit], abs=0.11)


def test_text_is_escaped_and_its_tags_are_read() -> None:
    drawn = scatter([1, 2], [1, 2])
    drawn.add_annotation(x=1, y=1, text=f"<b>{label('a<b & c')}</b><br>two")
    root = parsed(drawn)
    assert "a<b & ctwo" in texts(root)
    assert any(t.get("font-weight") == "bold" for t in root.iter(f"{SVG}tspan"))


def test_a_caption_stands_on_the_ground_and_not_on_the_grid() -> None:
    drawn = scatter([1, 2], [1, 2])
    drawn.add_annotation(x=0, xref="paper", y=1, text="a caption")
    caption = next(
        t for t in parsed(drawn).iter(f"{SVG}text") if "a caption" in "".join(t.itertext())
    )
    assert (caption.get("stroke"), caption.get("paint-order")) == ("#ffffff", "stroke")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-0.1, 0.1, ["−0.10", "−0.05", "0.00", "0.05", "0.10"]),
        (0, 70_000, ["0", "10k", "20k", "30k", "40k", "50k", "60k", "70k"]),
    ],
)
def test_numbers_beside_an_axis_are_round(low, high, expected) -> None:
    assert [text for _, text in axis_of({"range": [low, high]}, [], []).ticks] == expected


def test_a_matrix_has_a_cell_for_each_pair_and_its_number(grid) -> None:
    study = analyse(find_runs(grid), load_sweep(grid))
    root = parsed(plots.matrix_plot(study, study.matrix))
    cells = [r for r in root.iter(f"{SVG}rect") if r.get("fill", "").startswith("rgba")]
    assert len(cells) == len(study.matrix.cells)
    shown = " ".join(texts(root))
    for estimate in study.matrix.cells.values():
        assert study.metric.text(estimate.mean) in shown


def test_every_figure_of_a_study_becomes_a_picture(grid) -> None:
    study = analyse(find_runs(grid), load_sweep(grid))
    drawn = [
        *plots.setting_plots(study).values(), *plots.effect_plots(study), *plots.cost_plots(study),
        *plots.interaction_plots(study), sizes_plot(study, "model/parameters"),
    ]  # fmt: skip
    for one in drawn:
        root = parsed(one)
        width, height = float(root.get("width")), float(root.get("height"))
        assert circles(root)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in circles(root))


def test_sizes_are_lines_by_rising_cost(grid) -> None:
    study = analyse(find_runs(grid), load_sweep(grid))
    drawn = sizes_plot(study, "model/parameters")
    assert {trace["name"] for trace in drawn.data} == {"rnn", "lstm"}
    for trace in drawn.data:
        assert trace["x"] == sorted(trace["x"])
        mine = [s for s in study.settings if s["model"] == trace["name"]]
        assert set(trace["y"]) == {s.estimate(study.metric.key).mean for s in mine}
