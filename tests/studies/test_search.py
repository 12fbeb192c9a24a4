"""A space as Optuna has it, and what of a search outlives its command."""

import optuna
import pytest

from lm_research.config.problems import ConfigError
from lm_research.studies.search import dimensions, open_search, queue_again, setting_of

NODE = {"name": "a", "direction": "minimize", "tune": {"startup_trials": 2}}


def test_lists_ranges_and_scales():
    found = dimensions(
        {
            "model": ["rnn", None, [1, 2]],
            "model.hidden_size": {"low": 8, "high": 64, "step": 8},
            "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
        }
    )
    kinds = optuna.distributions
    assert found["model"] == kinds.CategoricalDistribution(["rnn", "null", "[1,2]"])
    assert found["model.hidden_size"] == kinds.IntDistribution(8, 64, step=8)
    assert found["optimizer.lr"] == kinds.FloatDistribution(1e-4, 0.1, log=True)


@pytest.mark.parametrize("entry", [[], 3, {"low": 1}, {"low": 3, "high": 1}, {"min": 1, "max": 2}])
def test_what_is_no_dimension_is_told(entry):
    with pytest.raises(ConfigError, match=r"sweep\.tune\.space\.x"):
        dimensions({"x": entry})
    with pytest.raises(ConfigError, match="is empty"):
        dimensions({})


def test_a_trial_under_way_is_queued_again_with_its_parameters(tmp_path):
    known = dimensions({"lr": {"low": 0.0, "high": 1.0}, "model": ["rnn", "lstm"]})
    search = open_search(tmp_path, NODE, 1)
    search.tell(search.ask(known), 1.0)
    lost = search.ask(known)
    again = open_search(tmp_path, NODE, 1)
    assert queue_again(again) == 1
    assert again.ask(known).params == lost.params
    states = [trial.state.name for trial in again.get_trials()]
    assert states == ["COMPLETE", "FAIL", "RUNNING"]
    assert set(setting_of(lost.params)) == {"lr", "model"}
    assert setting_of({"lr": 0.00204722352812965, "n": 12345}) == {"lr": "0.002047", "n": "12345"}
    assert float(setting_of(lost.params)["lr"]) == float(f"{lost.params['lr']:.4g}")
