import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from lm_research.analysis import plots as drawings
from lm_research.analysis.palette import COLOURS, encode
from lm_research.analysis.plots.curves import CURVE_POINTS
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import label, span
from lm_research.analysis.runs import find_runs
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import Sweep, load_sweep


class _Checked:
    """The plots as Plotly's own figures, which refuse names and values that they do not know."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: _checked(getattr(drawings, name)(*arguments))


def _checked(drawn: Any) -> Any:
    if drawn is None:
        return None
    if isinstance(drawn, Figure):
        return go.Figure(json.loads(drawn.to_json()))
    if isinstance(drawn, dict):
        return {name: _checked(figure) for name, figure in drawn.items()}
    return [_checked(figure) for figure in drawn]


plots = _Checked()


def test_what_a_figure_has_is_what_plotly_would_have_made_of_it() -> None:
    def build(drawn: Any) -> Any:
        drawn.update_layout(xaxis={"title": {"text": "a"}}, height=30)
        drawn.update_layout(xaxis={"title": {"standoff": 8}})
        drawn.update_xaxes(range=[0, 1])
        drawn.update_yaxes(title={"text": "b"})
        drawn.add_scatter(x=[1, 2], y=[1.5, float("nan")], marker={"size": 3})
        drawn.add_heatmap(z=[[1, None]])
        drawn.add_annotation(x=1, y=2, text="<b>", showarrow=False)
        drawn.add_vline(x=0, line={"width": 1})
        return json.loads(drawn.to_json())

    assert build(Figure()) == build(go.Figure(layout={"template": "none"}))


@pytest.fixture(scope="module")
def study(grid: Path) -> Study:
    return analyse(find_runs(grid), load_sweep(grid))


def test_the_matrix_shows_its_numbers(study: Study) -> None:
    assert study.matrix is not None
    drawn = plots.matrix_plot(study, study.matrix)
    texts = [annotation.text for annotation in drawn.layout.annotations]
    assert len(texts) == 4
    mean = study.matrix.cells["python_code", "python_code"].mean
    assert texts[0].startswith(f"<b>{mean:.3f}</b><br>")
    assert np.array(drawn.data[0].z).diagonal().tolist() == [1.0, 1.0]


def test_every_axis_and_every_source_has_its_plot(study: Study) -> None:
    assert len(plots.effect_plots(study)) == 3
    for build in (plots.setting_plots, plots.curve_plots):
        drawn = build(study)
        assert list(drawn) == ["python_code", "bbc_news"]
        for source, figure in drawn.items():
            assert source in figure.layout.title.text
            assert figure.layout.xaxis.title.text
            assert 100 < figure.layout.height < 900


def test_effects_share_one_scale_and_hollow_what_is_not_real(study: Study) -> None:
    data, vectorizer, model = plots.effect_plots(study)
    assert data.layout.xaxis.range == vectorizer.layout.xaxis.range == model.layout.xaxis.range
    assert list(data.data[0].marker.symbol) == ["circle", "circle-open"]
    assert list(vectorizer.data[0].marker.symbol) == ["circle"] * 3
    assert vectorizer.data[0].x[0] == 0.0


def test_a_curve_is_the_mean_with_the_range_of_its_seeds(make_run) -> None:
    for seed, values in ((1, (4.0, 3.0)), (2, (5.0, 2.0))):
        rows = [
            {"step": i, "tokens": 100 * (i + 1), "val/bits_per_byte": v}
            for i, v in enumerate(values)
        ]
        folder = make_run(str(seed), seed, {"val/bits_per_byte": values[-1]}, rows=rows)
        (folder / "metrics.jsonl").write_text(
            "".join(line for line in (folder / "metrics.jsonl").open() if "final" not in line)
        )
    study = analyse(find_runs(folder.parent), Sweep("x", "x"))
    band, line = plots.curve_plots(study)["a"].data
    assert list(line.x) == [100, 200]
    assert list(line.y) == [4.5, 2.5]
    assert list(band.y) == [5.0, 3.0, 2.0, 4.0]


def test_seeds_logged_at_different_steps_are_interpolated_where_both_ran(make_run) -> None:
    for seed, tokens in ((1, (0, 100, 200)), (2, (50, 150, 400))):
        rows = [{"step": t, "tokens": t, "val/bits_per_byte": 5.0 - t / 100} for t in tokens]
        folder = make_run(str(seed), seed, rows=rows)
        lines = [line for line in (folder / "metrics.jsonl").open() if "final" not in line]
        (folder / "metrics.jsonl").write_text("".join(lines))
    study = analyse(find_runs(folder.parent), Sweep("x", "x"))
    line = plots.curve_plots(study)["a"].data[-1]
    assert list(line.x) == [50, 100, 150, 200]
    assert list(line.y) == pytest.approx([4.5, 4.0, 3.5, 3.0])


def test_a_long_curve_is_thinned(make_run) -> None:
    rows = [{"step": i, "tokens": i, "val/bits_per_byte": 5.0 - i / 2000} for i in range(2000)]
    study = analyse(find_runs(make_run("a", rows=rows)), Sweep("x", "x"))
    line = plots.curve_plots(study)["a"].data[-1]
    assert len(line.x) == CURVE_POINTS
    assert (line.x[0], line.x[-1]) == (0, 307_200)


def test_architectures_are_drawn_against_what_they_cost(make_run) -> None:
    for model, size in (("rnn", 1000.0), ("lstm", 4000.0)):
        summary = {
            "val/bits_per_byte": 2.0, "model/parameters": size, "train/flops": 1e9,
            "perf/train_s": size / 100, "perf/tokens_per_s": 5e4,
        }  # fmt: skip
        choices = {"data": "a", "vectorizer": "one_hot", "model": model}
        make_run(model, summary=summary, choices=choices)
    runs = find_runs(make_run("gru", choices={**choices, "model": "gru"}).parent)
    drawn = plots.cost_plots(analyse(runs, Sweep("x", "x", axes=("model",))))
    titles = [one.layout.title.text for one in drawn]  # equal FLOPs explain nothing
    assert titles == [
        "a: quality against speed", "a: quality against parameters",
        "a: quality against seconds of training",
    ]  # fmt: skip
    assert [one.layout.xaxis.type for one in drawn] == [None, "log", "log"]
    assert sorted(trace.x[0] for trace in drawn[1].data) == [1000.0, 4000.0]


def test_a_search_is_drawn_trial_by_trial_and_compares_nothing(make_run) -> None:
    tried = [(0.001, "adam", 2.5), (0.003, "adamw", 2.1), (0.1, "adam", 2.9)]
    for number, (rate, optimizer, bits) in enumerate(tried):
        choices = {"data": "a", "vectorizer": "one_hot", "model": "rnn", "optimizer": optimizer}
        config = {"optimizer": {"lr": rate}}
        folder = make_run(
            str(number), 1, {"val/bits_per_byte": bits}, choices=choices, config=config
        )
    sweep = Sweep("x", "x", axes=("optimizer.lr", "optimizer"), searched=True)
    study = analyse(find_runs(folder.parent), sweep)
    assert (study.effects, study.factorial, study.scaling) == ((), None, ())
    drawn = plots.search_plot(study)
    assert drawn is not None
    best = drawn.data[-1]  # on top
    assert "optimizer.lr: 0.003" in best.hovertemplate
    assert best.line.width > drawn.data[0].line.width
    ends = sorted(line.y[0] for line in drawn.data)
    assert ends[0] == 0
    assert ends[1] == pytest.approx(np.log(3) / np.log(100))  # two decades: logarithmic
    assert ends[2] == 1
    assert plots.search_plot(analyse(find_runs(folder.parent), Sweep("x", "x"))) is None


def test_runs_without_curves_have_no_plot(make_run) -> None:
    study = analyse(find_runs(make_run("a")), Sweep("x", "x"))
    assert plots.curve_plots(study) == {}
    assert plots.cost_plots(study) == []


def test_one_noisy_setting_does_not_flatten_the_rest() -> None:
    steady = Estimate(2.0, 2, 0.01, 1.99, 2.01)
    noisy = Estimate(2.2, 2, 1.0, -8.0, 12.2)
    low, high = span([2.0, 2.2], [steady, noisy])
    assert (low, high) == pytest.approx((1.4 - 0.084, 2.8 + 0.084))
    alone = span([2.0], [Estimate(2.0, 2, 1.0, 1.0, 3.0)])
    assert alone[0] < 1.0 < 3.0 < alone[1]


def test_the_axis_with_most_options_gets_the_colours(study: Study) -> None:
    encoding = encode(study.settings)
    assert (encoding.colour_axis, encoding.shape_axis) == ("vectorizer", "model")
    assert {encoding.colour(s) for s in study.settings} == set(COLOURS[:3])
    assert {encoding.dash(s) for s in study.settings} == {"solid", "dot"}
    assert {encoding.symbol(s) for s in study.settings} == {"circle", "diamond"}
    single = encode([])
    assert single.colour_axis is None


def test_labels_are_no_markup() -> None:
    assert label("<b>x</b>&\x1b") == "&lt;b&gt;x&lt;/b&gt;&amp;&lt;U+001B&gt;"


@pytest.fixture(scope="module")
def rich(rich_grid: Path) -> Study:
    return analyse(find_runs(rich_grid), load_sweep(rich_grid))


def test_a_hypothesis_shows_both_intervals_and_is_hollow_where_undecided(rich: Study) -> None:
    drawn = plots.hypotheses_plot(rich)
    tested = [verdict for verdict in rich.hypotheses if verdict.difference]
    assert len(drawn.data) == 2 * len(tested)
    assert drawn.data[-2].x[0] == tested[0].difference.estimate.mean  # the first is on top
    assert drawn.data[-1].x[0] == tested[0].documents.estimate.mean
    assert "model=lstm &lt; model=rnn" in drawn.layout.annotations[-1].text
    ends = [e for t in tested for e in (t.documents.estimate.low, t.documents.estimate.high)]
    low, high = drawn.layout.xaxis.range
    assert low < min(ends) < max(ends) < high


def test_interactions_are_lines_of_setting_means(rich: Study) -> None:
    drawn = plots.interaction_plots(rich)
    assert len(drawn) == 3
    vectorizers = drawn[2]
    assert [line.name for line in vectorizers.data] == ["rnn", "lstm"]
    cells = [s for s in rich.settings if (s["vectorizer"], s["model"]) == ("one_hot", "rnn")]
    mean = np.mean([s.estimate("val/bits_per_byte").mean for s in cells])
    place = list(vectorizers.layout.xaxis.ticktext).index("one_hot")
    assert vectorizers.data[0].y[place] == pytest.approx(mean)


def test_over_seconds_a_point_stands_at_the_mean_time_of_its_seeds(make_run) -> None:
    for seed, pace in ((1, 1.0), (2, 3.0)):
        rows = [
            {"step": i, "tokens": 100 * i, "seconds": pace * i, "val/bits_per_byte": 5.0 - i}
            for i in (1, 2)
        ]
        folder = make_run(str(seed), seed, rows=rows)
        lines = [line for line in (folder / "metrics.jsonl").open() if "final" not in line]
        (folder / "metrics.jsonl").write_text("".join(lines))
    study = analyse(find_runs(folder.parent), Sweep("x", "x"))
    line = plots.curve_plots(study, "seconds")["a"].data[-1]
    assert list(line.x) == [2.0, 4.0]
    assert list(line.y) == [4.0, 3.0]


def test_a_law_has_band_line_and_runs(sizes: Path) -> None:
    (drawn,) = plots.scaling_plots(analyse(find_runs(sizes), load_sweep(sizes)))
    assert len(drawn.data) == 2 * 3
    assert (drawn.layout.xaxis.type, drawn.layout.yaxis.type) == ("log", "log")
    assert len(drawn.data[2].x) == 10
