"""What a study hands to a launcher."""

import json
import pickle

import cloudpickle
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import filter_overrides
from hydra.types import HydraContext
from omegaconf import OmegaConf

from lm_research.cli.sweep_rounds import PLANNED, PlannedLoader, Ticket, _for_jobs, _without_options
from lm_research.config.compose import compose
from lm_research.studies.jobs import Job, Planned

JOB = Job("0" * 64, "model-rnn--seed-1--00000000", {"model": "rnn"}, 1, ("model=rnn", "seed=1"))


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_ticket_is_a_name_and_brings_its_job_along(pickler):
    ticket = Ticket(Planned(JOB, {"seed": 1}))
    (read,) = pickler.loads(pickler.dumps(filter_overrides([ticket])))
    assert read == JOB.folder
    assert read.planned == ticket.planned


@pytest.fixture
def message(tmp_path):
    """What joblib's launcher sends with a job, but for the function."""
    composed = compose(
        [f"output={tmp_path}", "model=rnn", "hydra/launcher=joblib", f"hydra.sweep.dir={tmp_path}"]
    )
    shared = _for_jobs(OmegaConf.masked_copy(composed.hydra._get_parent(), "hydra"))
    loader = PlannedLoader.__new__(PlannedLoader)
    before = dict(Singleton._instances)
    with _without_options():
        state = Singleton.get_state()
    assert Singleton._instances == before
    context = HydraContext(loader, Callbacks(shared))
    return [Ticket(Planned(JOB, composed.config))], context, shared, state


def test_a_message_is_small_and_makes_the_jobs_configuration(message, tmp_path):
    sent = cloudpickle.dumps(message)
    assert len(sent) < 40_000
    before = dict(Singleton._instances)
    try:
        overrides, context, shared, state = pickle.loads(sent)
        Singleton.set_state(state)
        config = context.config_loader.load_sweep_config(shared, overrides)
        HydraConfig.instance().set_config(config)
        assert ConfigStore.instance() is before[ConfigStore]
        assert config.hydra.sweep.subdir == JOB.folder
        assert config.hydra.overrides.task[:2] == ["model=rnn", "seed=1"]
        assert json.loads(config[PLANNED]) == overrides[0].planned.config
        assert OmegaConf.to_container(shared.hydra.sweep)["subdir"] == "${hydra:job.num}"
    finally:
        Singleton._instances = before
