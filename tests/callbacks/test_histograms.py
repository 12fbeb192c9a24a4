"""Histograms of weights and gradients, on request."""

import numpy as np
import pytest
import torch

from lm_research.callbacks.histograms import histogram
from lm_research.tracking.run_folder import RunFolder


def test_equal_to_numpys():
    values = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    found = histogram(values, 16)
    counts, edges = np.histogram(values.numpy().ravel(), 16)
    assert found["counts"] == counts.tolist()
    np.testing.assert_allclose(found["edges"], edges, rtol=1e-5)


@pytest.mark.parametrize("values", [[], [float("nan")], [3.0, 3.0], [1.0, float("inf")]])
def test_what_has_no_width_or_is_not_finite(values):
    found = histogram(torch.tensor(values), 4)
    assert len(found["edges"]) == 5
    assert sum(found["counts"]) == sum(np.isfinite(values))


def test_off_unless_asked_for_and_training_is_the_same_with_them(train):
    plain = RunFolder(train(output="plain"))
    looked = RunFolder(
        train("callbacks=histograms", "callbacks.histograms.every=8", output="looked")
    )
    assert not (plain.path / "histograms.jsonl").exists()
    assert [row["step"] for row in looked.histograms] == [8, 16]
    (first, _) = looked.histograms
    names = set(first["values"])
    assert {name.split("/")[0] for name in names} == {"weights", "gradients"}
    assert all(sum(value["counts"]) > 0 for value in first["values"].values())
    losses = [[row.get("train/loss_nats") for row in run.metrics] for run in (plain, looked)]
    assert losses[0] == losses[1]
    assert plain.status.config_hash == looked.status.config_hash
