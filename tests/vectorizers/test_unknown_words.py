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


def test_uniform_rows_are_kims_and_drawn_by_the_seed() -> None:
    known_V = torch.tensor([True] + [False] * 400)
    weight_VD = torch.full((401, 50), 7.0)
    made, same, other = (fill(weight_VD, known_V, "uniform", seed=s) for s in (1, 1, 2))
    assert torch.equal(made, same)
    assert not torch.equal(made[1:], other[1:])
    assert torch.equal(made[0], weight_VD[0])
    # 20,000 numbers of U(-0.25, 0.25): variance 0.25^2 / 3, the extremes near the bounds.
    assert 0.2499 < made[1:].max() <= 0.25
    assert -0.25 <= made[1:].min() < -0.2499
    assert made[1:].var().item() == pytest.approx(0.25**2 / 3, rel=0.02)


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
