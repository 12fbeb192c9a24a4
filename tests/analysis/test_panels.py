"""What a study's dashboards show."""

import pytest

from lm_research.analysis.panels import study_kinds, study_sections

AXES = ("data", "vectorizer", "optimizer.lr")


def panels(*arguments):
    return [panel for section in study_sections(*arguments) for panel in section.panels]


def test_every_axis_has_its_bars_and_curves_go_over_tokens_and_seconds():
    found = panels("val/bits_per_byte", AXES)
    bars = [panel.group for panel in found if panel.kind == "bars"]
    assert bars == ["data.name", "choices.vectorizer", "optimizer.lr", None]
    curves = {(panel.x, panel.y) for panel in found if panel.kind == "curve"}
    assert {("tokens", "val/bits_per_byte"), ("seconds", "val/bits_per_byte")} <= curves
    (parallel,) = [panel for panel in found if panel.kind == "parallel"]
    assert parallel.axes == ("data.name", "choices.vectorizer", "optimizer.lr")


def test_evaluated_sources_are_shown_with_the_matrix_and_not_without_any():
    found = panels("val/bits_per_byte", AXES, ["tweets"])
    assert [p.y for p in found if p.y.startswith("eval/")] == ["eval/tweets/bits_per_byte"]
    assert [p.y for p in found if p.kind == "table"] == ["evaluations", "samples"]
    assert [p.y for p in panels("val/bits_per_byte", AXES) if p.kind == "table"] == ["samples"]


def test_one_axis_or_none_interact_with_nothing():
    for axes in ((), ("seed",)):
        assert "parallel" not in {panel.kind for panel in panels("val/bits_per_byte", axes)}


@pytest.mark.parametrize(
    ("axes", "kinds"),
    [
        (("data",), ("sources",)),
        (("data.weights", "model"), ("sources", "architectures")),
        (("model", "vectorizer"), ("architectures", "vectorization")),
        (("text.tokenizer.vocabulary_size",), ("vectorization",)),
        (("model.hidden_size", "budget.train_tokens"), ("scaling",)),
        (("optimizer.lr", "seed"), ()),
    ],
)
def test_a_study_is_about_what_it_varies(axes, kinds):
    assert study_kinds(axes) == kinds
    assert study_kinds(axes, searched=True) == ("search",)


def test_no_picture_stands_twice():
    found = panels("val/bits_per_byte", ("data", "vectorizer", "model"), ["tweets"])
    shown = [(panel.kind, panel.y, panel.x, panel.group, panel.axes) for panel in found]
    assert len(shown) == len(set(shown))


def test_a_search_has_no_means_to_compare():
    found = panels("val/bits_per_byte", ("optimizer.lr", "optimizer"), (), True)
    assert {panel.group for panel in found if panel.kind in ("bars", "curve")} <= {
        None, "optimizer.lr",
    }  # fmt: skip
    assert "bars" not in {panel.kind for panel in found}
    assert [p.y for p in found if p.kind == "importance"] == ["val/bits_per_byte"]
