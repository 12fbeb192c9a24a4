"""What a study hands to a launcher."""

import pickle

import cloudpickle
import pytest
from hydra.core.utils import filter_overrides

from lm_research.cli.sweep_rounds import Ticket
from lm_research.studies.jobs import Job, Planned

JOB = Job("0" * 64, "model-rnn--seed-1--00000000", {"model": "rnn"}, 1, ("model=rnn", "seed=1"))


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_ticket_is_a_name_and_brings_its_job_along(pickler):
    ticket = Ticket(Planned(JOB, {"seed": 1}))
    (read,) = pickler.loads(pickler.dumps(filter_overrides([ticket])))
    assert read == JOB.folder
    assert read.planned == ticket.planned
