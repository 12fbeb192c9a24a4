"""Inputs that are rows of a short table: the same layers, W x taken a row at a time."""

import pytest
import torch
import torch.nn.functional as F

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, TableRows, explain
from lm_research.kernels.table_rows import FEWEST_STEPS_A_ROW, look_up, look_up_backward

LAYERS = [FusedRNN, FusedGRU, FusedLSTM]
EVERY = pytest.mark.parametrize("cls", LAYERS)
V, D, H, B, T = 6, 5, 35, 7, 40
FAR = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


def layer_of(cls, **options):
    torch.manual_seed(0)
    return cls(D, H, 2, batch_first=True, **options)


def table_and_ids(batch=B, steps=T):
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(V, D, generator=generator)
    ids = torch.randint(V, (batch, steps), generator=generator)
    return table, ids


def state_of(layer, batch=B):
    generator = torch.Generator().manual_seed(2)
    count = 2 * (2 if layer.bidirectional else 1)
    parts = [torch.randn(count, batch, H, generator=generator) for _ in range(2)]
    return tuple(parts) if layer.mode == "LSTM" else parts[0]


def results(layer, table, x_of, hx=None, dtype=torch.float32, **options):
    """Outputs, states, and gradients by table, weights and initial states."""
    leaf = table.clone().requires_grad_()
    states = [] if hx is None else [hx] if isinstance(hx, torch.Tensor) else list(hx)
    states = [part.clone().requires_grad_() for part in states]
    given = None if hx is None else states[0] if len(states) == 1 else tuple(states)
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        y, after = layer(x_of(leaf), given, **options)
    after = [after] if isinstance(after, torch.Tensor) else list(after)
    loss = sum((part.double().sin() * (n + 1)).sum() for n, part in enumerate([y, *after]))
    wanted = [leaf, *states, *layer.parameters()]
    return [y, *after, *torch.autograd.grad(loss, wanted)]


def apart(one, other):
    """Largest difference, of the largest number."""
    return max(
        float((a.detach().double() - b.detach().double()).abs().max() / b.detach().abs().max())
        for a, b in zip(one, other, strict=True)
    )


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_layer_gives_what_torch_nn_gives_of_the_vectors(cls, dtype, bidirectional):
    layer = layer_of(cls, bidirectional=bidirectional)
    plain = cls.namesake(
        D, H, 2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64
    )
    plain.load_state_dict(layer.state_dict())
    table, ids = table_and_ids()
    hx = state_of(layer)
    double = hx.double() if isinstance(hx, torch.Tensor) else tuple(p.double() for p in hx)
    ours = results(layer, table, lambda leaf: TableRows(leaf, ids), hx, dtype)
    theirs = results(plain, table.double(), lambda leaf: F.embedding(ids, leaf), double)
    assert apart(ours, theirs) < FAR[dtype]
    if dtype == torch.float32:  # and it does go by rows: W's gradient has other last bits
        vectors = results(layer, table, lambda leaf: F.embedding(ids, leaf), hx)
        first = -len(list(layer.parameters()))
        assert not torch.equal(ours[first], vectors[first])


@EVERY
def test_lengths_resets_and_time_in_front(cls):
    layer = layer_of(cls)
    table, ids = table_and_ids()
    options = {
        "lengths": torch.randint(1, T + 1, (B,)),
        "reset_mask": torch.rand(B, T) < 0.1,
    }
    double = layer_of(cls, backend="reference").double()
    ours = results(layer, table, lambda leaf: TableRows(leaf, ids), **options)
    theirs = results(double, table.double(), lambda leaf: F.embedding(ids, leaf), **options)
    assert apart(ours, theirs) < FAR[torch.float32]
    turned = layer_of(cls)
    turned.batch_first = False
    options["reset_mask"] = options["reset_mask"].t()
    again = results(turned, table, lambda leaf: TableRows(leaf, ids.t()), **options)
    assert torch.equal(again[0], ours[0].transpose(0, 1))
    assert apart(again[1:], ours[1:]) < FAR[torch.float32]


@EVERY
def test_where_the_table_is_no_shorter_the_vectors_are_looked_up(cls):
    layer, fewest = layer_of(cls), FEWEST_STEPS_A_ROW[layer_of(cls).cell]
    table, ids = table_and_ids(1, V * fewest - 1)
    rows = results(layer, table, lambda leaf: TableRows(leaf, ids))
    vectors = results(layer, table, lambda leaf: F.embedding(ids, leaf))
    assert all(map(torch.equal, rows, vectors))


def test_float64_and_a_backend_by_name_look_them_up():
    table, ids = table_and_ids()
    for layer, kind in (
        (layer_of(FusedGRU).double(), torch.float64),
        (layer_of(FusedGRU, backend="torch"), torch.float32),
        (layer_of(FusedGRU, backend="reference"), torch.float32),
    ):
        y, _ = layer(TableRows(table.to(kind), ids))
        assert torch.equal(y, layer(F.embedding(ids, table.to(kind)))[0])


def test_an_lstm_goes_by_a_compiled_scan_for_them_alone():
    assert explain("lstm", hidden_size=H).backend == "torch"
    assert explain("lstm", hidden_size=H, table_rows=True).backend == "cpu"
    assert explain("lstm", hidden_size=H, steps=4, table_rows=True).backend == "torch"
    assert explain("lstm", hidden_size=H, dtype=torch.float64, table_rows=True).backend == "torch"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 16, 31, 32, 33, 100, 384])
def test_sums_of_rows_do_not_depend_on_threads(dtype, width, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(3, 50, width, generator=generator).to(dtype)
    ids = torch.randint(9, (3, 50), generator=generator)
    ids[ids == 4] = 5  # a row that nobody reads
    table = torch.zeros(9, width)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        found.append(look_up_backward(gradient, ids, table))
    assert all(torch.equal(found[0], other) for other in found[1:])
    exact = torch.zeros(9, width, dtype=torch.float64)
    exact.index_add_(0, ids.flatten(), gradient.flatten(0, 1).double())
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=1e-5)
    assert not found[0][4].any()


def test_a_look_up_is_an_operator_that_pytorch_knows():
    table = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(4, (2, 5))
    torch.library.opcheck(look_up, (table, ids, torch.float64))
    torch.library.opcheck(look_up_backward, (torch.randn(2, 5, 3), ids, torch.randn(4, 3)))
    torch.autograd.gradcheck(lambda t: look_up(t, ids, torch.float64), table)
    torch.autograd.gradgradcheck(lambda t: look_up(t, ids, torch.float64).sin(), table)


@EVERY
def test_compiled_without_a_break(cls):
    layer = layer_of(cls)
    table, ids = table_and_ids()
    whole = torch.compile(
        lambda t, i: layer(TableRows(t, i))[0], backend="aot_eager", fullgraph=True
    )
    torch.testing.assert_close(whole(table, ids), layer(TableRows(table, ids))[0])


def test_sizes_are_told_in_the_words_of_torch_nn():
    table, ids = table_and_ids()
    with pytest.raises(RuntimeError, match="Expected 5, got 4"):
        layer_of(FusedGRU)(TableRows(table[:, :4], ids))
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        layer_of(FusedGRU)(TableRows(table, ids), torch.zeros(2, B + 1, H))
    with pytest.raises(ValueError, match="dtype"):
        layer_of(FusedGRU)(TableRows(table.bfloat16(), ids))


@pytest.mark.parametrize("gradient", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_sums_of_rows_have_the_tables_type_whatever_the_default_is(gradient, default):
    table, ids = table_and_ids()
    rows = torch.randn(*ids.shape, D).to(gradient)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = look_up_backward(rows, ids, table)
    finally:
        torch.set_default_dtype(before)
    wanted = torch.zeros(V, D, dtype=torch.float64)
    wanted.index_add_(0, ids.flatten(), rows.flatten(0, 1).double())
    assert found.dtype == table.dtype
    torch.testing.assert_close(found, wanted.float())


@EVERY
def test_a_layer_where_the_default_type_is_float64(cls):
    layer, (table, ids) = layer_of(cls), table_and_ids()
    expected = results(layer, table, lambda leaf: TableRows(leaf, ids))
    torch.set_default_dtype(torch.float64)
    try:
        found = results(layer, table, lambda leaf: TableRows(leaf, ids))
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
