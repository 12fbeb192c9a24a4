"""A counted model as a stream: cut anywhere, it says the same."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm_research.models.ngram import KneserNey
from lm_research.tasks.counted import CountedLanguageModel

SIZE = 6


def fitted(order: int) -> CountedLanguageModel:
    rng = np.random.default_rng(0)
    model = KneserNey(SIZE, order=order)
    model.fit(np.concatenate([[0], rng.integers(0, SIZE, 300), [0]]))
    return CountedLanguageModel(model, SIZE)


@pytest.mark.parametrize("order", [1, 2, 4])
@given(
    st.lists(st.lists(st.integers(0, SIZE - 1), min_size=9, max_size=9), min_size=1, max_size=3),
    st.lists(st.integers(1, 8), max_size=4),
)
def test_how_a_stream_is_cut_changes_nothing(order, rows, cuts) -> None:
    model, ids_BT = fitted(order), torch.tensor(rows)
    whole, _ = model.advance(ids_BT, model.start(len(rows)))
    assert whole.shape == (len(rows), 9, SIZE)
    assert whole.exp().sum(-1) == pytest.approx(1, abs=1e-12)
    stream, pieces = model.start(len(rows)), []
    bounds = [0, *sorted(set(cuts)), 9]
    for start, stop in pairwise(bounds):
        log_p_BTV, stream = model.advance(ids_BT[:, start:stop], stream)
        pieces.append(log_p_BTV)
        assert all(len(history) < order for history in stream)
    assert torch.allclose(torch.cat(pieces, 1), whole, rtol=1e-12, atol=0)
