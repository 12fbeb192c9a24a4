"""Rank correlations from tables on the disk."""

import hashlib

import numpy as np
import pytest
from scipy.stats import spearmanr

from lm_research.analysis.mixing_laws import fit_law
from lm_research.data.document import DataError
from lm_research.data.downloads import Downloads, RemoteFile
from lm_research.methods.mixture_regression import MixtureRegression

NAMES = ("train_w.csv", "train_l.csv", "test_w.csv", "test_l.csv")


@pytest.fixture
def tables(tmp_path):
    """Losses that weights determine, with noise; one index of each table is in no other."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 20)):
        weights = rng.dirichlet(np.ones(3), count) * 2  # not normalized, as some files are
        losses = weights @ [1.0, 2.0, 4.0] + rng.normal(0, 0.1, count)
        rows = [f"{i},{','.join(map(repr, row.tolist()))}" for i, row in enumerate(weights)]
        (tmp_path / f"{part}_w.csv").write_text("\n".join(["index,a,b,c", *rows]) + "\n")
        rows = [f"{i + 1},{float(losses[i])!r}" for i in range(count)]
        (tmp_path / f"{part}_l.csv").write_text("\n".join(["index,loss", *rows]) + "\n")
    files = []
    for name in NAMES:
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        files.append(RemoteFile(name, [], digest))
    return tmp_path, files


def method(files, **fields):
    return MixtureRegression("linear", "loss", files[:2], {"large": files[2:]}, **fields)


def test_the_correlation_is_over_mixtures_that_both_tables_hold(tables):
    folder, files = tables
    found = method(files).measure(None, Downloads(str(folder)), 1, lambda done, whole: None)
    arrays = {n: np.loadtxt(folder / n, delimiter=",", skiprows=1) for n in NAMES}
    weights = {p: arrays[f"{p}_w.csv"][1:, 1:] for p in ("train", "test")}
    weights = {p: w / w.sum(1, keepdims=True) for p, w in weights.items()}
    loss = {p: arrays[f"{p}_l.csv"][:-1, 1] for p in ("train", "test")}
    law = fit_law("linear", weights["train"], loss["train"])
    expected = 100 * spearmanr(law(weights["test"]), loss["test"]).statistic
    assert found == {"spearman_large": pytest.approx(expected)}
    few = method(files, fit_on=5).measure(None, Downloads(str(folder)), 1, lambda *_: None)
    assert few != found
    assert set(method(files).files(None)) == set(NAMES)


def test_what_the_tables_lack_is_told(tables):
    folder, files = tables
    wrong = MixtureRegression("linear", "price", files[:2], {"large": files[2:]})
    with pytest.raises(DataError, match="no column price"):
        wrong.measure(None, Downloads(str(folder)), 1, lambda *_: None)
    with pytest.raises(ValueError, match="two, of mixtures and of losses"):
        MixtureRegression("linear", "loss", files[:1], {})
