import torch
import torch.nn.functional as F

from lm_research.vectorizers.one_hot import OneHot
from lm_research.vectorizers.vectorizer import NOTHING


def test_equals_torch_one_hot() -> None:
    ids_BT = torch.randint(9, (4, 6))
    one_hot = OneHot(9)
    assert one_hot.dim == 9
    assert torch.equal(one_hot(ids_BT), F.one_hot(ids_BT, 9).float())


def test_nothing_is_zero_and_an_unknown_id_is_an_error() -> None:
    x_BTD = OneHot(3)(torch.tensor([[NOTHING, 1]]))
    assert x_BTD.tolist() == [[[0, 0, 0], [0, 1, 0]]]


def test_document_is_the_share_of_each_token() -> None:
    ids_N = torch.tensor([1, 1, 4, 0, NOTHING])
    x_V = OneHot(5).document(ids_N)
    torch.testing.assert_close(x_V, F.one_hot(ids_N[:4], 5).float().mean(0))
    assert OneHot(3).document(torch.tensor([2])).tolist() == [0, 0, 1]


def test_a_linear_layer_on_one_hot_is_an_embedding() -> None:
    ids_BT = torch.randint(7, (2, 5))
    layer = torch.nn.Linear(7, 3, bias=False)
    embedding = torch.nn.Embedding.from_pretrained(layer.weight.T.contiguous(), freeze=False)
    torch.testing.assert_close(layer(OneHot(7)(ids_BT)), embedding(ids_BT))
    layer(OneHot(7)(ids_BT)).square().sum().backward()
    embedding(ids_BT).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad.T, embedding.weight.grad)
