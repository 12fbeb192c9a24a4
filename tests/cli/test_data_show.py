"""``data show``: what each step did, with examples and reasons."""

import json
import sys

import pytest

from lm_research.cli.data import run
from lm_research.cli.data_show import difference
from lm_research.config.problems import ConfigError

STEPS = (
    "[{_target_: lm_research.text.cleaning.MaskUrls, replacement: '<url>'},"
    "{_target_: lm_research.text.quality.c4.C4CurlyBracket},"
    "{_target_: lm_research.text.duplicates.ExactDuplicates, against: []}]"
)


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lm-research"])
    rows = [f"Number {i} is here." for i in range(20)]
    rows += ["See http://a.b/c now.", "if (a) { b }", "[bold]Number 3[/bold] is \x1b[31mhere."]
    rows += ["Number 3 is here!"]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return ["show", "data=files", f"data.paths=[{file}]", f"text.cleaning={STEPS}"]


def test_an_example_of_each_step_and_the_counts(arguments, capsys):
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "mask_urls changed files/rows.jsonl#21" in shown
    assert "See [-http://a.b/c-]{+<url>+} now" in " ".join(shown.split())
    assert "c4_curly_bracket dropped files/rows.jsonl#22: curly bracket" in shown
    assert "exact_duplicates dropped files/rows.jsonl#" in shown
    rows = {line.split()[1]: line.split() for line in shown.splitlines() if line.startswith("│")}
    assert rows["mask_urls"][3:8:2] == ["24", "1", "0"]
    assert rows["c4_curly_bracket"][3:8:2] == ["24", "0", "1"]
    assert "exact copy: 1" in shown
    assert "\x1b" not in shown


def test_how_many_documents(arguments, capsys):
    assert run([*arguments, "documents=5", "examples=1"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("rows.jsonl#") == 1 + shown.count("changed files") + shown.count(
        "dropped files"
    )
    assert " 5 " in next(line for line in shown.splitlines() if line.startswith("│ mask_urls"))


def test_a_mistake_is_named(arguments):
    with pytest.raises(ConfigError, match="documents=0: does not fit"):
        run([*arguments, "documents=0"])


def test_differences():
    assert difference("a b c", "a x c").plain.strip() == "a [-b-]{+x+} c"
    assert difference("one\n\ntwo", "one\ntwo").plain.strip() == "one[-⏎⏎-]{+⏎+}two"
    coloured = difference("a b c", "a c", marks=False)
    assert coloured.plain.strip() == "a b c"
    assert [str(span.style) for span in coloured.spans if "red" in str(span.style)] == [
        "red strike"
    ]
    long = "same " * 200
    assert len(difference(f"{long}old {long}", f"{long}new {long}").plain) < 300
