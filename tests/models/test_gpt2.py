"""Learned positions in blocks, against PyTorch's own encoder layers; biases, initialization."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.models.transformer import Transformer

HEADS, SIZE, LAYERS, CONTEXT = 2, 8, 3, 5


def make(**changes):
    torch.manual_seed(0)
    fields = {"positions": "learned", "context": CONTEXT, "num_heads": HEADS, "num_layers": LAYERS}
    return Transformer(SIZE, SIZE, **{**fields, **changes}).double().eval()


def oracle(model, x_BTH, bias):
    """Each block of the stream by itself, through ``nn.TransformerEncoderLayer``."""
    layers = []
    for own in model.layers:
        layer = nn.TransformerEncoderLayer(
            SIZE, HEADS, 4 * SIZE, 0.0, "gelu", batch_first=True, norm_first=True, bias=bias
        ).double()
        pairs = {
            "self_attn.in_proj_": own.query_key_value, "self_attn.out_proj.": own.attention_output,
            "linear1.": own.feedforward[0], "linear2.": own.feedforward[2],
            "norm1.": own.attention_norm, "norm2.": own.feedforward_norm,
        }  # fmt: skip
        state = {f"{n}{k}": v for n, part in pairs.items() for k, v in part.state_dict().items()}
        layer.load_state_dict(state)
        layers.append(layer)
    blocks = []
    for block in x_BTH.split(CONTEXT, dim=1):
        steps = block.shape[1]
        y_BTH = block + model.position_CH[:steps]
        mask = nn.Transformer.generate_square_subsequent_mask(steps, dtype=torch.float64)
        for layer in layers:
            y_BTH = layer(y_BTH, src_mask=mask)
        blocks.append(model.norm(y_BTH))
    return torch.cat(blocks, dim=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pieces", [[13], [1] * 13, [3, 5, 5], [5, 8], [12, 1]])
def test_a_stream_is_read_in_blocks_however_it_is_cut(bias, pieces):
    model = make(bias=bias)
    x_BTH = torch.randn(2, 13, SIZE).double()
    expected, state, found = oracle(model, x_BTH, bias), None, []
    for piece in x_BTH.split(pieces, dim=1):
        y_BTH, state = model(piece, state)
        found.append(y_BTH)
    torch.testing.assert_close(torch.cat(found, dim=1), expected)
    begun, _ = model(x_BTH, model.initial_state(2))
    torch.testing.assert_close(begun, expected)


def test_rows_in_different_places_of_their_blocks_share_a_batch():
    model, lengths = make(), torch.tensor([3, 7])
    x_BTH = torch.randn(2, 7, SIZE).double()
    _, state = model(x_BTH, lengths=lengths)
    more_BTH = torch.randn(2, 4, SIZE).double()
    y_BTH, _ = model(more_BTH, state)
    for row, length in enumerate(lengths.tolist()):
        whole = torch.cat([x_BTH[row, :length], more_BTH[row]])[None]
        torch.testing.assert_close(y_BTH[row], oracle(model, whole, True)[0, length:])


def test_biases_and_initialization():
    model = make(bias=False, init="gpt2")
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    wide = Transformer(256, 256, positions="learned", init="gpt2", num_layers=8)
    deviations = {
        name: float(p.detach().std()) for name, p in wide.named_parameters() if p.dim() > 1
    }
    for name, deviation in deviations.items():
        ends = "attention_output" in name or "feedforward.2" in name
        assert deviation == pytest.approx(0.02 / (math.sqrt(16) if ends else 1), rel=0.05), name
    assert all((p == 0).all() for n, p in wide.named_parameters() if n.endswith("bias"))
    assert all((p == 1).all() for n, p in wide.named_parameters() if n.endswith("norm.weight"))


@pytest.mark.parametrize(("name", "layers", "size"), [("", 4, 128), ("_gpu", 6, 384)])
def test_nanogpts_parameters(name, layers, size):
    """0.80 and 10.65 million, as nanoGPT counts them: without positions, the head shared."""
    from lm_research.cli.assembly import build_model
    from lm_research.config.compose import compose
    from lm_research.text.character import CharacterTokenizer

    tokenizer = CharacterTokenizer(100)
    tokenizer.train(["".join(map(chr, range(40, 103)))])
    assert tokenizer.vocabulary_size == 65
    config = compose([f"experiment=nanogpt_shakespeare_char{name}"]).config
    task = build_model(config, tokenizer, None)
    own = sum(p.numel() for p in task.parameters()) - task.model.position_CH.numel()
    assert own == 65 * size + layers * (12 * size**2 + 2 * size) + size
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {p.dim() for p in groups[1]["params"]} == {1}
    assert sum(len(group["params"]) for group in groups) == len(list(task.parameters()))


def test_attention_weights_are_dropped_in_training_alone():
    """As PyTorch's own function drops them: the same draw from the same seed."""
    model, x_BTH = make(attention_dropout=0.5, num_layers=1), torch.randn(2, CONTEXT, SIZE).double()
    expected = model(x_BTH)[0]
    layer = model.train().layers[0]
    placed = x_BTH + model.position_CH
    heads = (2, CONTEXT, HEADS, SIZE // HEADS)
    qkv = layer.query_key_value(layer.attention_norm(placed)).chunk(3, dim=-1)
    query, key, value = (part.view(heads).transpose(1, 2) for part in qkv)
    mask = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).tril()
    torch.manual_seed(3)
    attended = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=0.5)
    y_BTH = placed + layer.attention_output(attended.transpose(1, 2).flatten(2))
    y_BTH = model.norm(y_BTH + layer.feedforward(layer.feedforward_norm(y_BTH)))
    torch.manual_seed(3)
    torch.testing.assert_close(model(x_BTH)[0], y_BTH)
    assert not torch.allclose(y_BTH, expected)
