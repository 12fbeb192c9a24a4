import pytest

from lm_research.config.compose import compose
from lm_research.config.durations import seconds_of
from lm_research.config.problems import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("01:30", 90),
        ("01:30:00", 5400),
        ("02:00:00:01", 172801),  # Lightning's form
        ("2-00:00:01", 172801),  # Slurm's
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("90 min", 5400),
        ("2 days, 1 hour", 176400),
        ("1.5 hours", 5400),
        ("45 seconds", 45),
    ],
)
def test_a_span_as_people_write_it(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "1 fortnight", "-5", 0, "0:00", "nan", "inf", "5 x", 10**400]
)
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no span of time"):
        seconds_of(text)


def test_it_is_told_with_the_other_problems_and_needs_checkpoints():
    with pytest.raises(ConfigError, match=r"max_time=soon: is no span of time"):
        compose(["max_time=soon"])
    with pytest.raises(ConfigError, match=r"stops a run at a checkpoint"):
        compose(["max_time=5", "callbacks=none"])
    assert compose(["max_time='00:10:00'"]).config["max_time"] == "00:10:00"
