"""One page of all papers: which file speaks for a row, the figures, and what is not yet run."""

import re
from dataclasses import replace

import pytest
import yaml

from lm_research.analysis.page import README
from lm_research.analysis.plots.published import course_plot, published_plot
from lm_research.analysis.plots.svg import to_svg
from lm_research.analysis.reproductions import PLOT, Reproduction, ReproductionsPage
from lm_research.config.expected import Course, Point, read_expected

ROW = {"published": 100.0, "metric": "test/ppl", "mark": "V", "tolerance": 2.0, "why": "so"}
NODE = {
    "paper": "A. Author, On Authors (2020), https://example.org",
    "table": "Table 1",
    "direction": "minimize",
    "deterministic": False,
    "seeds": [1, 2],
    "data": {"files": {}},
    "cost": {"cpu": "5 min", "gpu": "~1 min"},
    "sources": {},
    "rows": [{**ROW, "name": "first"}, {**ROW, "name": "second", "mark": "M"}],
    "differs": ["another optimizer"],
}


@pytest.fixture
def expected(tmp_path):
    file = tmp_path / "expected.yaml"
    file.write_text(yaml.safe_dump(NODE))
    return read_expected(file)


def result(name, state, mean, day=1, low=None, high=None, **more):
    ours = {"mean": mean, "sd": None, "low": low, "high": high, "n": 1}
    row = {"name": name, "state": state, "why": "because", "ours": ours, "values": {"1": mean}}
    around = {"time": f"2026-12-0{day}T10:00:00"}
    command = f"lm-research reproduce paper day={day}"
    return {"rows": [{**row, **more}], "environment": around, "seconds": {"1": 60.0},
            "command": command}  # fmt: skip


def test_more_seeds_say_more_than_a_later_one(expected):
    three = {"1": 101.0, "2": 102.0, "3": 103.0}
    results = [
        result("first", "reproduced", 101.0, 1, values=three),
        result("first", "worse", 110.0, 2),
    ]
    (attempt,) = Reproduction("paper", expected, results).attempts()
    assert attempt.day == "2026-12-01"


def test_the_newest_file_that_compares_a_row_speaks_for_it(expected):
    results = [
        result("first", "worse", 110.0, 1),
        result("first", "reproduced", 101.0, 2),
        result("first", "not comparable", 90.0, 3),  # somebody tried another size
        {"rows": [{"name": "course", "state": "on course", "why": "", "ours": None}]},
    ]
    (attempt,) = Reproduction("paper", expected, results).attempts()
    assert (attempt.state, attempt.ours.mean, attempt.day) == ("reproduced", 101.0, "2026-12-02")
    never = replace(expected, rows=[replace(r, incomparable="no data") for r in expected.rows])
    (attempt,) = Reproduction("paper", never, results).attempts()
    assert attempt.day == "2026-12-03"


def test_an_earlier_recipe_speaks_only_where_there_is_no_other(expected):
    three = {"1": 101.0, "2": 102.0, "3": 103.0}
    results = [result("first", "better", 90.0, 1, values=three, recipe="before")]

    def told(more=()):
        found = Reproduction("paper", expected, [*results, *more], {"first": "now"}).attempts()
        return [(attempt.told, attempt.day) for attempt in found]

    assert told() == [("better (by an earlier recipe)", "2026-12-01")]
    for recipe in ({"recipe": "now"}, {}):  # files of long ago know of none
        later = result("first", "worse", 110.0, 2, **recipe)
        assert told([later]) == [("worse", "2026-12-02")]


def test_the_page(expected, tmp_path):
    curve = {"seeds": {"1": [[10, 150.0], [20, 120.0]]}}
    results = [result("first", "reproduced", 101.0, low=100.0, high=102.0, curve=curve)]
    results.append(result("second", "better", 95.0, 2))
    page = ReproductionsPage(
        [Reproduction("paper", expected, results), Reproduction("other", expected, [])]
    )
    file = page.write(tmp_path / "page")
    text = file.read_text(encoding="utf-8")
    assert file.name == README
    assert "1 of 2 experiments have been run; of their rows: 1 reproduced, 1 better." in text
    assert "| paper | first | 100 | 101 ± 1 | 1 | 2 | 60 | reproduced | 2026-12-01 |" in text
    assert re.search(r"\\| paper \\| second \\| 100 .{1,2}\\* \\| 95 \\|", text)
    assert "- differs from the paper: another optimizer" in text
    assert "lm-research reproduce paper day=1\nlm-research reproduce paper day=2" in text
    waiting = text[text.index("## Not yet run whole") :]
    assert "| other | A. Author, On Authors (2020) | 5 min |" in waiting
    assert "| paper | A. Author" not in waiting
    for name in (PLOT, "paper.svg"):
        assert f"({name})" in text
        assert (tmp_path / "page" / name).read_text().startswith("<svg")
    (tmp_path / "page" / README).write_text("mine")
    with pytest.raises(FileExistsError):
        page.write(tmp_path / "page")


def test_a_row_stands_at_its_relative_difference_on_its_tolerance(expected):
    results = [result("first", "worse", 103.0, low=102.5, high=103.5)]
    (attempt,) = Reproduction("paper", expected, results).attempts()
    drawn = published_plot([("paper", attempt)])
    bar, point = drawn.data
    assert bar["x"] == pytest.approx([-2, 2])
    assert point["x"] == pytest.approx([3])
    assert point["error_x"]["array"] == pytest.approx([0.5])
    assert "paper: first" in to_svg(drawn)


def test_the_way_has_every_seed_the_published_number_and_the_recorded_course(expected):
    curve = {"seeds": {"1": [[10, 150.0], [20, 120.0]], "2": [[10, 151.0], [20, 119.0]]}}
    results = [result("first", "worse", 120.0, curve=curve)]
    found = list(Reproduction("paper", expected, results).attempts())
    course = Course("val/ppl", "one run", 0.05, "one seed", [Point(10, 149.0)])
    lines = course_plot(found, course).data
    assert [line["y"] for line in lines] == [[150, 120], [151, 119], [100, 100], [149]]
    assert [line.get("name") for line in lines] == [
        *("first", None, "first, published", "recorded course")
    ]
    to_svg(course_plot(found, course))
    results = [result(name, "worse", 120.0, curve=curve) for name in ("first", "second")]
    both = list(Reproduction("paper", expected, results).attempts())
    lines = [line for line in course_plot(both, None).data if len(set(line["y"])) > 1]
    assert len(lines) == 2  # the rows are of the same runs
    dotted = [line for line in course_plot(both, None).data if len(set(line["y"])) == 1]
    assert [line["showlegend"] for line in dotted] == [False, True]  # one has a line of its own
    flat = {"seeds": {"1": [[10, 150.0]]}}  # a model that is counted has no way
    (attempt,) = Reproduction(
        "paper", expected, [result("first", "worse", 1.0, curve=flat)]
    ).attempts()
    assert attempt.curve == {}
