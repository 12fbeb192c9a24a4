"""Designs over shares."""

from math import comb

import numpy as np
import pytest

from lm_research.config.problems import ConfigError
from lm_research.studies.mixtures import design_weights, lattice
from lm_research.studies.plan import Plan


@pytest.mark.parametrize(("sources", "parts"), [(2, 1), (2, 5), (3, 4), (5, 3)])
def test_a_lattice_has_every_multiple_once(sources, parts):
    points_CM = lattice(sources, parts)
    assert len(points_CM) == comb(parts + sources - 1, parts)
    assert points_CM.sum(1) == pytest.approx(np.ones(len(points_CM)))
    assert points_CM * parts == pytest.approx(np.round(points_CM * parts))
    assert len({tuple(row) for row in points_CM.round(6).tolist()}) == len(points_CM)


def test_a_design_goes_by_its_seed_and_lattices_begin_with_single_sources():
    first, again, other = (design_weights(4, 10, "dirichlet", 1.0, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.sum(1) == pytest.approx(np.ones(10), abs=0.002)
    near = design_weights(4, 200, "dirichlet", 0.1, 0).max(1).mean()
    assert near > design_weights(4, 200, "dirichlet", 10.0, 0).max(1).mean() + 0.3
    points_RM = design_weights(3, 6, "lattice", 1.0, 0)
    assert {tuple(row) for row in points_RM[:3].tolist()} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    assert len({tuple(row) for row in points_RM.tolist()}) == 6


def test_a_study_gets_a_case_for_each_mixture():
    study = {"mixtures": {"sources": ["code", "tweets"], "runs": 3}, "seeds": 2}
    settings = Plan.of(study).settings()
    assert [s["data.name"] for s in settings] == ["mixture_001", "mixture_002", "mixture_003"]
    assert all(s["data"] == "mixture" and s["data.schedule"] == "{}" for s in settings)
    assert settings[0]["data.weights"].startswith("{code:0.")


@pytest.mark.parametrize("sources", [[], ["code"], ["code", "code"]])
def test_one_source_is_no_mixture(sources):
    with pytest.raises(ConfigError, match=r"sweep\.mixtures\.sources"):
        Plan.of({"mixtures": {"sources": sources}})
