from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lm_research.vectorizers.word2vec import Word2Vec

GROUPS, MEMBERS = 4, 5


def planted_documents() -> list[np.ndarray]:
    """Sentences of a topic's own context words around one of its interchangeable members.

    Members never meet each other: ids 1..20 are the members of 4 groups, 21..40 the contexts.
    """
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(1500):
        group = rng.integers(GROUPS)
        contexts = 1 + GROUPS * MEMBERS + MEMBERS * group + rng.permutation(MEMBERS)
        member = 1 + MEMBERS * group + rng.integers(MEMBERS)
        documents.append(np.array([*contexts[:2], member, *contexts[2:4]]))
    return documents


def planted(**arguments: Any) -> Word2Vec:
    vectorizer = Word2Vec(2 * GROUPS * MEMBERS + 3, dim=8, window=4, subsample=0.0, **arguments)
    vectorizer.fit(iter(planted_documents()))
    return vectorizer


@pytest.mark.parametrize("architecture", ["skip_gram", "cbow"])
@pytest.mark.parametrize("solver", ["numba", "numpy"])
def test_tokens_of_the_same_contexts_end_up_close(solver: Any, architecture: Any) -> None:
    vectorizer = planted(epochs=20, solver=solver, architecture=architecture)
    member_MD = F.normalize(vectorizer.weight.detach()[1 : 1 + GROUPS * MEMBERS], dim=1)
    similarity = member_MD @ member_MD.T
    group = torch.arange(GROUPS * MEMBERS) // MEMBERS
    same = (group[:, None] == group) & ~torch.eye(len(group), dtype=torch.bool)
    assert similarity[same].min() > similarity[group[:, None] != group].max()
    # J of six terms begins at 6 ln 2.
    assert vectorizer.objectives[-1] < 0.7 * vectorizer.objectives[0] < 0.7 * 6 * np.log(2)


@pytest.mark.parametrize("solver", ["numba", "numpy"])
def test_few_frequent_tokens_and_a_high_rate_do_not_overshoot(solver: Any) -> None:
    """Batches get shorter: with as many tokens as for a large vocabulary these fits diverge."""
    for seed in range(3):
        vectorizer = planted(
            epochs=15, solver=solver, architecture="cbow", seed=seed, learning_rate=0.2
        )
        assert vectorizer.objectives[-1] < 0.5 * vectorizer.objectives[0] < 0.5 * 6 * np.log(2)


@pytest.mark.parametrize("solver", ["numba", "numpy"])
def test_a_rate_that_diverges_is_named(solver: Any) -> None:
    with pytest.raises(ValueError, match=r"learning_rate is 1e\+30: with it word2vec has diverged"):
        planted(epochs=1, solver=solver, learning_rate=1e30)


def test_fitting_repeats_by_seed() -> None:
    for solver in ("numba", "numpy"):
        one, two, other = (planted(epochs=1, seed=s, solver=solver) for s in (1, 1, 2))
        assert torch.equal(one.weight, two.weight)
        assert not torch.equal(one.weight, other.weight)


def test_tokens_never_seen_are_made_up_and_told() -> None:
    vectorizer = planted(epochs=1, unknown="zero")
    assert vectorizer.report()["coverage"] == pytest.approx(40 / 43)
    assert vectorizer.report()["solver"] == "numba"
    assert not vectorizer.weight[[0, 41, 42]].any()
    assert vectorizer.weight[1:41].all()


def test_text_of_which_nothing_is_read_has_no_objective() -> None:
    """One token all over is nearly always thinned out."""
    vectorizer = Word2Vec(1, dim=2, subsample=1e-12, epochs=2)
    vectorizer.fit([np.zeros(5, dtype=np.uint16)])
    assert vectorizer.report()["objective_first_and_last"] == []
    assert vectorizer.weight.abs().max() <= 0.25


def test_a_file_of_vectors_is_loaded_as_glove_does(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("2 2\nthe 1 2\nus 3 4\n")
    vectorizer = Word2Vec(3, dim=2, path=str(path), unknown="mean", trainable=False)
    assert not vectorizer.needs_fit
    vectorizer.fit([np.array([1, 2])])
    vectorizer.load_vectors(["the", " Us", "zebra"])
    assert vectorizer.weight.tolist() == [[1, 2], [3, 4], [2, 3]]
    assert vectorizer.coverage.item() == pytest.approx(2 / 3)
    assert not vectorizer.weight.requires_grad


def test_bad_uses_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"no training document of two tokens or more"):
        Word2Vec(2, dim=2).fit([np.array([1]), np.array([], dtype=np.int64)])
    with pytest.raises(ValueError, match=r"architecture is 'bag'; it must be one of 'skip_gram'"):
        Word2Vec(2, dim=2, architecture="bag")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"solver is 'torch'; it must be one of 'auto', 'numba'"):
        Word2Vec(2, dim=2, solver="torch")  # type: ignore[arg-type]
    assert (Word2Vec(3, 2).solver, Word2Vec(3, 2).learning_rate) == ("numba", 0.025)
    monkeypatch.setattr("lm_research.vectorizers.compiled.has_numba", lambda: False)
    assert Word2Vec(3, 2).solver == "numpy"
    with pytest.raises(ValueError, match=r"solver is 'numba', which is not installed: pip install"):
        Word2Vec(3, dim=2, solver="numba")
