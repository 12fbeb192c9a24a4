from typing import Any

import pytest
import torch

from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.vectorizer import NOTHING


def test_equals_torch_embedding_with_its_gradient() -> None:
    embedding = Embedding(9, 4)
    oracle = torch.nn.Embedding.from_pretrained(embedding.weight.detach().clone(), freeze=False)
    ids_BT = torch.randint(9, (3, 6))
    assert torch.equal(embedding(ids_BT), oracle(ids_BT))
    for module in (embedding, oracle):
        module(ids_BT).square().sum().backward()
    torch.testing.assert_close(embedding.weight.grad, oracle.weight.grad)
    assert embedding.output_weight() is embedding.weight


def test_starts_as_torch_embedding_does() -> None:
    torch.manual_seed(5)
    embedding = Embedding(9, 4)
    torch.manual_seed(5)
    assert torch.equal(embedding.weight, torch.nn.Embedding(9, 4).weight)


@pytest.mark.parametrize(
    ("init", "scale", "bound", "std"),
    [
        ("normal", None, None, 1.0),
        ("normal", 0.02, None, 0.02),
        ("uniform", None, 0.1, 0.1 / 3**0.5),
        ("uniform", 0.5, 0.5, 0.5 / 3**0.5),
        ("keras", None, 0.05, 0.05 / 3**0.5),
    ],
)
def test_initial_distribution(init: Any, scale: float, bound: float, std: float) -> None:
    torch.manual_seed(0)
    weight = Embedding(1000, 50, init=init, scale=scale).weight
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert bound is None or 0.99 * bound < weight.abs().max() <= bound


def test_dropout_takes_a_token_out_at_all_its_places() -> None:
    torch.manual_seed(0)
    embedding = Embedding(200, 3, dropout=0.4).train()
    ids_BT = torch.randint(200, (20, 60))
    ratio_BTD = embedding(ids_BT) / embedding.weight[ids_BT]
    kept = ratio_BTD.amax(-1) > 0.5
    torch.testing.assert_close(ratio_BTD, (kept / 0.6)[..., None].expand(ratio_BTD.shape))
    for id in range(200):
        assert kept[ids_BT == id].unique().numel() <= 1
    assert kept.float().mean().item() == pytest.approx(0.6, abs=0.1)
    assert torch.equal(embedding.eval()(ids_BT), embedding.weight[ids_BT])


def test_document_is_the_mean_of_the_rows() -> None:
    embedding = Embedding(9, 4)
    x_D = embedding.document(torch.tensor([2, 2, 5, NOTHING]))
    torch.testing.assert_close(x_D, embedding.weight[[2, 2, 5]].mean(0))
    assert torch.equal(embedding.document(torch.tensor([7])), embedding.weight[7])
    torch.testing.assert_close(
        embedding.document(torch.tensor([0, 1])), embedding.weight[:2].mean(0)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, r"dim is 0; it must be at least 1"),
        ({"dropout": 1.0}, r"dropout is 1.0; it must be within \[0, 1\)"),
        ({"init": "xavier"}, r"init is 'xavier'; it must be one of 'normal', 'uniform', 'keras'"),
        ({"scale": 0.0}, r"scale is 0.0; it must be greater than 0"),
        ({"init": "keras", "scale": 0.1}, r"scale is 0.1, but init=keras fixes it"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(9, **({"dim": 4} | arguments))
