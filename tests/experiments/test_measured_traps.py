"""Details of a protocol whose effect on the number has to be trained to be seen."""

import os
import statistics

import pytest

from lm_research.cli.assembly import prepare_text
from lm_research.cli.job import run
from lm_research.cli.saved import load
from lm_research.config.compose import compose
from lm_research.config.expected import read_expected
from lm_research.config.paths import experiments
from lm_research.tasks.evaluation import evaluate, sampled_loss

DOWNLOADS = os.environ.get("LM_RESEARCH_DOWNLOADS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DOWNLOADS, reason="LM_RESEARCH_DOWNLOADS names no folder"),
]
QUIET = (f"downloads={DOWNLOADS}", "tracking=disabled", "trainer=cpu")


@pytest.fixture(scope="module")
def nanogpt(tmp_path_factory):
    """nanoGPT's small model, trained whole; and its validation split."""
    folder = tmp_path_factory.mktemp("nanogpt") / "run"
    config = compose(["experiment=nanogpt_shakespeare_char", "seed=1", *QUIET]).config
    run(config, folder)
    saved = load(str(folder))
    store = prepare_text(
        saved.config, saved.config["data"], {"tokenizer": saved.tokenizer.state_dict()}
    ).store
    return saved.model, store.split("validation")


def test_where_windows_begin_moves_a_validation_loss(nanogpt):
    """1.898 by blocks of 64 was 1.874 by windows 32 apart: as much as a tolerance of 0.02."""
    model, split = nanogpt
    blocks, strided = (
        evaluate(model, split, 64, stride=stride).scores["loss_nats"] for stride in (64, 32)
    )
    assert blocks - strided == pytest.approx(0.0245, abs=0.004)
    row = read_expected(experiments()["nanogpt_shakespeare_char"] / "expected.yaml").rows[0]
    assert blocks - strided > row.tolerance


def test_twenty_random_batches_are_a_noisy_loss(nanogpt):
    """nanoGPT's estimate lies around the loss by blocks; draws differ by 0.01 to 0.02."""
    model, split = nanogpt
    whole = evaluate(model, split, 64, stride=64).scores["loss_nats"]
    draws = [sampled_loss(model, split, 12, 64, 20, seed) for seed in range(40)]
    assert 0.008 < statistics.stdev(draws) < 0.02
    assert statistics.mean(draws) == pytest.approx(whole, abs=0.008)
    assert min(draws) < whole - 0.01  # the least of many estimates is no estimate of the least


def test_the_published_rate_with_a_mean_over_time_trains_another_model(tmp_path, read_json):
    """Zaremba's rate of 1 and norm of 5 belong to a loss that is summed over 20 steps."""
    found = {}
    for name, told in (("summed", []), ("mean", ["optimizer.lr=1", "trainer.gradient_clip=5"])):
        part = ["budget.train_tokens=232400", "callbacks.evaluation.times=1", "seed=1"]
        config = compose(["experiment=zaremba_small", *part, *told, *QUIET]).config
        run(config, tmp_path / name)
        found[name] = read_json(tmp_path / name / "summary.json")["val/perplexity_token"]
    assert found["mean"] > 1.5 * found["summed"]
