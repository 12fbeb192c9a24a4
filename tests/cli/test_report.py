"""Which runs the report reads, and where it goes."""

import pytest

from lm_research.cli.report import run
from lm_research.config.problems import ConfigError


@pytest.fixture
def asked(monkeypatch):
    """What the verb hands on."""
    calls = []
    monkeypatch.setattr("lm_research.cli.report.report", lambda *places: calls.append(places))
    return calls


def test_a_study_knows_its_own_folder_and_file(asked) -> None:
    run(["sweep=demo"])
    run(["sweep=demo", "output=mine.html"])
    run(["runs=somewhere"])
    assert asked == [
        ("runs/demo", "reports/demo.html"),
        ("runs/demo", "mine.html"),
        ("somewhere", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "give one of the two"), (["runs=a", "sweep=demo"], "give only one of the two")],
)
def test_one_of_the_two_is_needed(arguments, said) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        run(arguments)
    assert "runs=FOLDER or sweep=NAME" in str(error.value)


def test_an_unknown_study_is_told() -> None:
    with pytest.raises(ConfigError, match="demo"):
        run(["sweep=dmo"])
