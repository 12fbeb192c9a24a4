"""The characters' convolutional network against one that is written out, character by character."""

import pytest
import torch

from lm_research.metrics.flops import parameter_count
from lm_research.models.char_cnn import WIDTHS, CharCNN, steps_of
from lm_research.text.alphabet import AlphabetTokenizer
from lm_research.vectorizers.one_hot import OneHot

ALPHABET = "abcdefgh"


def made(**changes):
    torch.manual_seed(0)
    fields = {"hidden_size": 5, "filters": 4, "length": 130, "unread": 2, "deviation": 0.3}
    return CharCNN(len(ALPHABET) + 2, **{**fields, **changes}).double().eval()


def quantised(text, length):
    """The paper's: the last character first, a one in its column; zeros where there is none."""
    x_LD = torch.zeros(length, len(ALPHABET), dtype=torch.float64)
    for place, character in enumerate(reversed(text)):
        if place < length and character in ALPHABET:
            x_LD[place, ALPHABET.index(character)] = 1
    return x_LD


def largest_of_three(y_LF):
    return torch.stack([y_LF[i : i + 3].amax(0) for i in range(0, len(y_LF) - 2, 3)])


def written_out(model, x_LD):
    for number, (layer, width) in enumerate(zip(model.convolutions, WIDTHS, strict=True)):
        windows = [x_LD[i : i + width] for i in range(len(x_LD) - width + 1)]
        # weight (F, D, width)
        sums = [torch.einsum("fdw,wd->f", layer.weight, window) + layer.bias for window in windows]
        x_LD = torch.stack(sums).clamp(min=0)
        if number in (0, 1, 5):
            x_LD = largest_of_three(x_LD)
    y_H = (model.first.weight @ x_LD.flatten() + model.first.bias).clamp(min=0)
    return (model.second.weight @ y_H + model.second.bias).clamp(min=0)


TEXTS = ["abc, gh fade!" * 3, "h", "abcdefgh" * 17, "zz z"]  # the third longer than is read


def test_texts_of_a_batch_are_read_as_the_paper_has_it_and_so_are_gradients():
    tokenizer = AlphabetTokenizer(ALPHABET)
    tokenizer.train(["anything"])
    ids = [torch.tensor(tokenizer.encode(text).ids_N) for text in TEXTS]
    ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-1)
    model, lengths_B = made(), torch.tensor([len(text) for text in TEXTS])
    x_BTD = OneHot(tokenizer.vocabulary_size)(ids_BT).double()
    found_BH = model(x_BTD, lengths_B)
    expected_BH = torch.stack([written_out(model, quantised(text, 130)) for text in TEXTS])
    assert found_BH.any(1).all()
    torch.testing.assert_close(found_BH, expected_BH)
    weight_BH, parameters = torch.randn_like(found_BH), list(model.parameters())
    both = [torch.autograd.grad((weight_BH * y).sum(), parameters) for y in (found_BH, expected_BH)]
    for gradient, expected in zip(*both, strict=True):
        torch.testing.assert_close(gradient, expected)
    noise_BTD = torch.where((ids_BT < 0)[..., None], torch.randn_like(x_BTD), x_BTD)
    torch.testing.assert_close(model(noise_BTD, lengths_B), found_BH)


@pytest.mark.parametrize(("hidden", "filters"), [(1024, 256), (2048, 1024)])
def test_the_papers_sizes(hidden, filters):
    with torch.device("meta"):
        model = CharCNN(70, hidden, filters)
    convolutions = filters * (70 * 7 + 1) + filters * (7 * filters + 1)
    convolutions += 4 * filters * (3 * filters + 1)
    assert (model.first.in_features, model.output_size) == (34 * filters, hidden)
    connected = hidden * (34 * filters + 1) + hidden * (hidden + 1)
    assert parameter_count(model) == convolutions + connected


@pytest.mark.parametrize("length", [123, 124, 150, 151, 1014])
def test_places_that_are_left(length):
    assert steps_of(length) == (length - 96) // 27


def test_weights_and_biases_begin_as_normal_draws():
    model = made(filters=64, hidden_size=64, deviation=0.02)
    for parameter in (model.convolutions[3].weight, model.first.weight):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.second.bias.std().item() == pytest.approx(0.02, rel=0.4)


def test_dropout_follows_both_connected_layers():
    model = made(dropout=0.5).train()
    x_BTD = torch.eye(10, dtype=torch.float64)[torch.randint(2, 10, (400, 130))]
    y_BH = model(x_BTD, torch.full((400,), 130))
    assert (y_BH == 0).any()
    assert not torch.equal(y_BH, model(x_BTD, torch.full((400,), 130)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"length": 122}, "length=122.*at least 123"), ({"unread": 10}, "unread=10.*less than 10")],
)
def test_what_leaves_nothing_to_read_is_told(changes, told):
    with pytest.raises(ValueError, match=told):
        made(**changes)


def test_an_alphabet_has_its_ids_whatever_the_text_holds():
    tokenizer = AlphabetTokenizer("ba\n")
    tokenizer.train(["zzz"])
    assert tokenizer.encode("ab c\n").ids_N.tolist() == [3, 2, 1, 1, 4]
    assert tokenizer.vocabulary_size == 5
    for alphabet, told in (("", "has none"), ("aba", "'a' twice")):
        with pytest.raises(ValueError, match=told):
            AlphabetTokenizer(alphabet)
