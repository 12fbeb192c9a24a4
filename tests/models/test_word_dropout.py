"""Word dropout: whole tokens, by themselves, and never all of a document's."""

import numpy as np
import pytest
import torch

from lm_research.models.word_dropout import drop_words

PADDING = -1


def padded(documents):
    lengths_B = torch.tensor([len(d) for d in documents])
    ids_BT = torch.full((len(documents), int(lengths_B.max())), PADDING)
    for row, document in zip(ids_BT, documents, strict=True):
        row[: len(document)] = torch.tensor(document)
    return ids_BT, lengths_B


def test_what_is_left_is_the_masks_own_in_order():
    """Against a loop over the same drawn numbers."""
    rng = np.random.default_rng(0)
    documents = [list(range(n)) for n in [1, 2, 7, 30, 3]] + [rng.integers(0, 9, 25).tolist()]
    ids_BT, lengths_B = padded(documents)
    for seed in range(20):
        torch.manual_seed(seed)
        moved_BT, left_B = drop_words(ids_BT, lengths_B, 0.6, PADDING)
        torch.manual_seed(seed)
        drawn_BT = torch.rand(ids_BT.shape)
        for row, document in enumerate(documents):
            kept = [w for w, u in zip(document, drawn_BT[row].tolist(), strict=False) if u >= 0.6]
            wanted = kept or document
            assert left_B[row] == len(wanted)
            assert moved_BT[row, : len(wanted)].tolist() == wanted
            assert (moved_BT[row, len(wanted) :] == PADDING).all()
        assert moved_BT.shape[1] == left_B.max()
    assert ids_BT[3].tolist() == documents[3]  # the batch itself is as it was


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_a_share_p_of_the_tokens_is_dropped(p):
    torch.manual_seed(0)
    ids_BT = torch.arange(200)[None].repeat(200, 1)
    moved_BT, left_B = drop_words(ids_BT, torch.full((200,), 200), p, PADDING)
    # 40,000 draws: four standard errors.
    assert left_B.sum().item() / 40_000 == pytest.approx(1 - p, abs=4 * 0.5 / 200)
    counts_V = torch.bincount(moved_BT[moved_BT >= 0], minlength=200) / 200
    assert (counts_V - (1 - p)).abs().max() < 0.15  # no place is favoured


def test_the_same_draw_by_seed_and_padding_alone_stays():
    ids_BT, lengths_B = torch.full((2, 1), PADDING), torch.ones(2, dtype=torch.int64)
    moved_BT, left_B = drop_words(ids_BT, lengths_B, 0.9, PADDING)
    assert moved_BT.tolist() == [[PADDING]] * 2
    assert left_B.tolist() == [1, 1]
