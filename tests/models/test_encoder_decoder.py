"""Encoder and decoder of a Transformer against PyTorch's own layers and against the formulas."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from lm_research.data.pair_batches import pair_batch
from lm_research.models.cross_attention import CrossAttention
from lm_research.models.encoder_decoder import Decoder, EncoderDecoderModel
from lm_research.models.transformer import Transformer
from lm_research.tasks.decoding import Search
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.streaming import select
from lm_research.tasks.writing import write_batch
from lm_research.vectorizers.embedding import Embedding

HEADS, SIZE, LAYERS, STEPS = 2, 8, 3, 7
LENGTHS = torch.tensor([STEPS, 1, 4])
NONE = torch.arange(STEPS) >= LENGTHS[:, None]


def make(**changes):
    fields = {"positions": "learned", "context": 9, "num_heads": HEADS, "num_layers": LAYERS}
    return Transformer(SIZE, SIZE, **{**fields, **changes}).double().eval()


def pair(**changes):
    """An encoder, a decoder over its outputs, and vectors for both."""
    torch.manual_seed(0)
    encoder, decoder = make(**changes), Decoder(make(**changes), SIZE).double().eval()
    for module in (encoder, decoder):  # far from what they begin with: biases of zero, norms of one
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
    source, target = (torch.randn(3, steps, SIZE, dtype=torch.float64) for steps in (STEPS, 5))
    return encoder, decoder, source.requires_grad_(), target.requires_grad_()


def ours(encoder, decoder, source, target):
    memory, state = encoder(source, lengths=LENGTHS, causal=False)
    assert state is None
    y, weights, _ = decoder(target, decoder.keys(memory), NONE)
    return memory, y, weights


def theirs(own, cross=None):
    """PyTorch's layer with our weights in it, so that gradients reach ours."""
    kind = nn.TransformerEncoderLayer if cross is None else nn.TransformerDecoderLayer
    layer = kind(SIZE, HEADS, 4 * SIZE, 0.0, "gelu", batch_first=True, norm_first=True)
    parts = {
        "self_attn.in_proj_": own.query_key_value, "self_attn.out_proj.": own.attention_output,
        "linear1.": own.feedforward[0], "linear2.": own.feedforward[2],
        "norm1.": own.attention_norm, f"norm{2 if cross is None else 3}.": own.feedforward_norm,
    }  # fmt: skip
    if cross is not None:
        parts |= {"norm2.": cross.norm, "multihead_attn.out_proj.": cross.output}
    state = {f"{name}{k}": v for name, part in parts.items() for k, v in part.named_parameters()}
    for name in ("weight", "bias") if cross is not None else ():
        both = [getattr(part, name) for part in (cross.query, cross.key_value)]
        state[f"multihead_attn.in_proj_{name}"] = torch.cat(both)
    assert state.keys() == layer.state_dict().keys()
    # In training mode, where PyTorch takes no shortcut; its dropout is zero.
    return lambda *inputs, **options: functional_call(layer.train(), state, inputs, options)


def oracle(encoder, decoder, source, target):
    x = source + encoder.position_CH[:STEPS]
    for own in encoder.layers:
        x = theirs(own)(x, src_key_padding_mask=NONE)
    memory = encoder.norm(x)
    y = target + decoder.model.position_CH[: target.shape[1]]
    later = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
    for own, cross in zip(decoder.model.layers, decoder.cross, strict=True):
        y = theirs(own, cross)(y, memory, tgt_mask=later, memory_key_padding_mask=NONE)
    return memory, decoder.model.norm(y)


def test_both_equal_pytorchs_layers_and_so_do_all_gradients():
    encoder, decoder, source, target = given = pair()
    memory, y, weights = ours(*given)
    expected_memory, expected = oracle(*given)
    torch.testing.assert_close(memory[~NONE], expected_memory[~NONE])
    assert not memory[NONE].any()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5, dtype=torch.float64))
    assert not weights.masked_select(NONE[:, None]).any()

    cotangent = torch.randn_like(y)
    parameters = [source, target, *encoder.parameters(), *decoder.parameters()]
    found, others = (
        torch.autograd.grad((cotangent * output).sum(), parameters) for output in (y, expected)
    )
    for gradient, other in zip(found, others, strict=True):
        torch.testing.assert_close(gradient, other)
    assert all(gradient.any() for gradient in found)


def turned(x_E, place):
    """Rotary embedding of one head: pairs (i, i + E/2) by place * 10000^(-2i/E)."""
    half = len(x_E) // 2
    angle = place * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    left, right = x_E[:half], x_E[half:]
    return torch.cat(
        [left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()]
    )


def attended(query_TH, key_SH, value_SH, reach, places):
    """Head by head and query by query; the vectors, and the weights' mean over heads."""
    width, y_TH = SIZE // HEADS, torch.zeros_like(query_TH)
    weight_TS = torch.zeros(len(query_TH), len(key_SH), dtype=torch.float64)
    turn = turned if places else lambda x_E, place: x_E
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        for t in range(len(query_TH)):
            seen, query_E = list(reach(t)), turn(query_TH[t, part], t)
            scores = [query_E @ turn(key_SH[s, part], s) / math.sqrt(width) for s in seen]
            weights = torch.stack(scores).softmax(0)
            y_TH[t, part] = weights @ value_SH[seen][:, part]
            weight_TS[t, seen] += weights / HEADS
    return y_TH, weight_TS


def written_out(model, x_TH, reach, cross=None, memory_SH=None):
    """One row of an encoder, or of a decoder with its memory, and the last attention's weights."""
    weights = None
    for number, own in enumerate(model.layers):
        parts = own.query_key_value(own.attention_norm(x_TH)).chunk(3, dim=1)
        x_TH = x_TH + own.attention_output(attended(*parts, reach, True)[0])
        if cross is not None:
            key, value = cross[number].key_value(memory_SH).chunk(2, dim=1)
            query = cross[number].query(cross[number].norm(x_TH))
            whole = lambda t: range(len(memory_SH))  # noqa: E731
            y_TH, weights = attended(query, key, value, whole, False)
            x_TH = x_TH + cross[number].output(y_TH)
        inner, _, outer = own.feedforward
        x_TH = x_TH + outer(F.gelu(inner(own.feedforward_norm(x_TH))))
    return model.norm(x_TH), weights


@pytest.mark.parametrize("context", [2, 30])
def test_rotary_positions_see_the_whole_source_whatever_the_context(context):
    given = encoder, decoder, source, target = pair(positions="rotary", context=context)
    with torch.no_grad():
        memory, y, weights = ours(*given)
        for row, length in enumerate(LENGTHS.tolist()):
            expected, _ = written_out(encoder, source[row, :length], lambda t, n=length: range(n))
            torch.testing.assert_close(memory[row, :length], expected)
            last = lambda t: range(max(0, t - context + 1), t + 1)  # noqa: E731
            expected, weight = written_out(
                decoder.model, target[row], last, decoder.cross, expected
            )
            torch.testing.assert_close(y[row], expected)
            torch.testing.assert_close(weights[row, :, :length], weight)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("context", [3, 9])
def test_token_by_token_with_rows_that_change_places_equals_one_pass(positions, context):
    torch.manual_seed(0)
    encoder, decoder, source, target = pair()
    decoder.model = make(positions=positions, context=context)
    rows_of_steps = [torch.tensor(rows) for rows in ([0, 0, 2], [2, 1, 0], [1, 1, 0], [0, 2, 2])]
    with torch.no_grad():
        memory, _ = encoder(source[:1], causal=False)
        memory = memory.expand(3, -1, -1)  # three beginnings for one source, as in beam search
        keys, none, state = decoder.keys(memory), torch.zeros(3, STEPS, dtype=torch.bool), None
        read = torch.zeros(3, 0, SIZE, dtype=torch.float64)
        for step in range(5):
            x = target[:, step : step + 1]
            y, weights, state = decoder(x, keys, none, state)
            read = torch.cat([read, x], dim=1)
            expected, expected_weights, _ = decoder(read, keys, none)
            torch.testing.assert_close(y[:, 0], expected[:, -1])
            torch.testing.assert_close(weights[:, 0], expected_weights[:, -1])
            if step < len(rows_of_steps):
                state, read = (select(kept, rows_of_steps[step]) for kept in (state, read))


def test_a_causal_encoder_is_the_language_model():
    encoder, _, source, _ = pair()
    torch.testing.assert_close(encoder(source)[0][:, 0], encoder(source[:, :1])[0][:, 0])
    whole, _ = encoder(source, causal=False)
    assert not torch.allclose(whole[:, 0], encoder(source)[0][:, 0])


def test_a_source_without_positions_is_told():
    encoder = make(context=4)
    with pytest.raises(ValueError, match=r"5 tokens.*context=4.*most_source"):
        encoder(torch.zeros(1, 5, SIZE, dtype=torch.float64), causal=False)


def test_cross_attention_begins_as_the_model_does():
    torch.manual_seed(0)
    model = Transformer(64, 64, num_layers=8, init="gpt2", bias=True)
    layer = model.cross_attentions(64)[0]
    assert layer.key_value.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.output.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not layer.query.bias.any()
    assert model.layers[0].attention_output.weight.std().item() == pytest.approx(0.005, rel=0.05)
    assert [len(make(bias=False).cross_attentions(4)), LAYERS] == [LAYERS, LAYERS]
    dropped = Transformer(8, 8, dropout=0.3, attention_dropout=0.2).cross_attentions(8)[0]
    assert (dropped.dropout.p, dropped.attention_dropout) == (0.3, 0.2)


class Means(EncoderDecoderModel):
    """A model of one's own: one layer, the mean of what a position sees, and a linear map."""

    def __init__(self, input_size, hidden_size=SIZE):
        super().__init__()
        self.map = nn.Linear(input_size, hidden_size)
        self.output_size = hidden_size

    def initial_state(self, batch):
        return torch.zeros(batch, dtype=torch.int64), self.map.weight.new_zeros(
            batch, self.output_size
        )

    def forward(self, x_BTD, state=None, *, lengths=None, causal=True, between=None):
        y_BTH = self.map(x_BTD)
        lengths = torch.full((len(x_BTD),), x_BTD.shape[1]) if lengths is None else lengths
        real_BT1 = (torch.arange(x_BTD.shape[1]) < lengths[:, None])[..., None]
        y_BTH, new_state = y_BTH * real_BT1, None
        if causal:
            count_B, sum_BH = self.initial_state(len(x_BTD)) if state is None else state
            sum_BTH = sum_BH[:, None] + y_BTH.cumsum(1)
            count_BT = count_B[:, None] + torch.arange(1, x_BTD.shape[1] + 1)
            y_BTH = sum_BTH / count_BT[..., None]
            new_state = count_B + lengths, sum_BTH[:, -1]
        else:
            y_BTH = (y_BTH.sum(1) / lengths[:, None])[:, None].expand_as(y_BTH)
        return (y_BTH if between is None else between(0, y_BTH)) * real_BT1, new_state

    def cross_attentions(self, memory_size):
        return [CrossAttention(self.output_size, memory_size, HEADS)]


def test_a_model_of_ones_own_is_one_class():
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=0.01)
    parts = Embedding(11, 6), Means(6), Means, adam, lambda _: 1.0
    task = SequenceToSequence(*parts, copy=True).double().eval()
    sources = [np.arange(1, 8), np.array([3]), np.array([5, 2])]
    how, limits = Search(3, n_best=2), [6, 3, 4]
    together = write_batch(task, sources, how, limits)
    for row, ids_N in enumerate(sources):
        alone = write_batch(task, [ids_N], how, limits[row : row + 1])[0]
        assert [text.ids for text in alone] == [text.ids for text in together[row]]
    task.training_step(pair_batch(sources, sources), 0).backward()
    assert all(p.grad is not None for p in task.parameters())
