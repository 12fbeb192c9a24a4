"""What a vectorizer of one's own inherits."""

import torch
from torch import Tensor

from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer


class LastTwo(Vectorizer):
    """x_t = [id at t, id at t-1], ``NOTHING`` before the start."""

    dim, context = 2, 1

    def forward(self, ids_BT: Tensor) -> Tensor:
        before_BT = torch.cat([ids_BT.new_full((len(ids_BT), 1), NOTHING), ids_BT[:, :-1]], 1)
        return torch.stack([ids_BT, before_BT], -1).float()


def test_a_document_is_the_mean_of_its_positions() -> None:
    assert LastTwo(9).document(torch.tensor([2, 4, 7, 3])).tolist() == [
        4,
        (NOTHING + 2 + 4 + 7) / 4,
    ]


def test_nothing_is_fitted_and_no_matrix_is_shared() -> None:
    vectorizer = LastTwo(9)
    assert not vectorizer.needs_fit
    assert vectorizer.fit([]) is None
    assert vectorizer.output_weight() is None
    assert vectorizer.vocabulary_size == 9


def test_a_stream_hands_on_the_last_ids() -> None:
    vectorizer = LastTwo(9)
    x_BTD, history_BC = vectorizer.stream(torch.tensor([[1, 2], [5, 6]]), None)
    assert x_BTD.tolist() == [[[1, NOTHING], [2, 1]], [[5, NOTHING], [6, 5]]]
    assert history_BC.tolist() == [[2], [6]]
    x_BTD, history_BC = vectorizer.stream(torch.tensor([[3], [7]]), history_BC)
    assert x_BTD.tolist() == [[[3, 2]], [[7, 6]]]
    assert history_BC.tolist() == [[3], [7]]
