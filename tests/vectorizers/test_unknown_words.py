import pytest
import torch

from lm_research.vectorizers.unknown_words import Unknown, fill, grams

TOKENS = ["walking", "talk", "walked", "xyz", "a"]
KNOWN = torch.tensor([True, True, False, False, False])
WEIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]])


def test_grams_are_fasttexts() -> None:
    assert grams("where") >= {"<wh", "whe", "her", "ere", "re>", "<where"}
    assert grams(" a") == {"<a>"}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("zero", [[0, 0], [0, 0], [0, 0]]),
        ("mean", [[2, 3], [2, 3], [2, 3]]),
        ("subword", [None, [2, 3], [2, 3]]),
    ],
)
def test_rows_made_up(how: Unknown, expected: list) -> None:
    made = fill(WEIGHT, KNOWN, how, seed=0, tokens=TOKENS)
    assert torch.equal(made[:2], WEIGHT[:2])
    for row, wanted in zip(made[2:], expected, strict=True):
        assert wanted is None or row.tolist() == wanted


def test_subwords_are_means_of_means() -> None:
    made = fill(WEIGHT, KNOWN, "subword", seed=0, tokens=TOKENS)
    shared = [g for g in grams("walked") if g in grams("walking") or g in grams("talk")]
    rows = []
    for gram in shared:
        holders = [WEIGHT[i] for i in (0, 1) if gram in grams(TOKENS[i])]
        rows.append(torch.stack(holders).mean(0))
    assert "alk" in shared  # in both
    torch.testing.assert_close(made[2], torch.stack(rows).mean(0))


def test_draws_repeat_by_seed() -> None:
    one, two, other = (fill(WEIGHT, KNOWN, "random", seed) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one[2:], other[2:])
