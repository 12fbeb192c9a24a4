"""Who a job is, and what is noted down of it."""

import pytest

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.studies.jobs import planned, read_jobs, write_jobs
from lm_research.studies.plan import Plan
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.run_identity import config_hash

PLAN = Plan.of({"grid": {"model": ["rnn", "lstm"], "optimizer.lr": [0.1, 0.2]}, "seeds": [3, 4]})


def test_a_job_is_what_its_command_composes(tiny):
    found = planned(PLAN, [*tiny, "output=out"])
    assert [one.job.seed for one in found] == [3] * 4 + [4] * 4  # every setting early
    for one in found:
        assert one.config == compose(one.job.overrides).config
        assert one.job.identity == config_hash(one.config)
        assert one.job.folder.endswith(f"--{one.job.identity[:8]}")
    assert len({one.job.folder for one in found}) == 8
    assert found[0].job.folder.startswith("model-rnn--optimizer.lr-0.1--seed-3--")


def test_identity_is_of_the_content_and_not_of_the_place_or_the_name(tiny):
    folders = [
        [one.job.folder for one in planned(PLAN, [*tiny, *extra])]
        for extra in ([], ["output=elsewhere", "tracking=offline"], ["optimizer.betas=[0.8,0.99]"])
    ]
    assert folders[0] == folders[1]
    assert not set(folders[0]) & set(folders[2])


def test_settings_of_one_configuration_are_one_job(tiny):
    same = Plan.of({"cases": [{"model": "lstm"}, {"model.hidden_size": 8, "model": "lstm"}]})
    assert len(planned(same, tiny)) == 1


def test_problems_of_all_settings_are_told_at_once_and_each_once(tiny):
    plan = Plan.of({"grid": {"optimizer.lr": [-1.0, 0.1, 5000.0]}, "seeds": 3})
    with pytest.raises(ConfigError) as caught:
        planned(plan, tiny)
    assert [problem.value for problem in caught.value.problems] == ["-1.0", "5000.0"]


def test_jobs_are_read_back_without_secrets(tiny, tmp_path):
    jobs = [one.job for one in planned(PLAN, [*tiny, "tracking.notes='https://b:hunter2@host/'"])]
    write_jobs(tmp_path, jobs)
    read = read_jobs(tmp_path)
    assert [job.identity for job in read] == [job.identity for job in jobs]
    assert [job.setting for job in read] == [job.setting for job in jobs]
    assert "hunter2" not in (tmp_path / "jobs.json").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no study was started here"),
        ("{", "damaged"),
        ('{"format": 2, "jobs": []}', "format 2"),
        ('{"format": 1, "jobs": [{}]}', "damaged"),
        ('{"format": 1, "jobs": [{"folder": "../x"}]}', "is not a name"),
        ('{"format": 1, "jobs": 3}', "damaged"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, text, said):
    if text is not None:
        (tmp_path / "jobs.json").write_text(text)
    with pytest.raises(RunFolderError, match=said):
        read_jobs(tmp_path)
