"""Two directions, state dropout, zoneout and recomputed gates: against what they stand for."""

import pytest
import torch
from scan_cases import DTYPES, GATES, both, case, names_of, run
from torch import nn
from torch.func import functional_call

from lm_research.kernels.walk import Walk

EVERYTHING = {"dropout": 0.4, "bidirectional": True, "lengths": [4, 1, 3], "resets": 0.3}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("zoneout", ["mask", 0.3])
@pytest.mark.parametrize("recompute", [False, True])
def test_all_at_once_in_every_type(cell, dtype, zoneout, recompute, device, agree):
    tensors, options = case(cell, dtype, device, 3, 4, 24, zoneout=zoneout, **EVERYTHING)
    agree(*both(cell, tensors, {**options, "recompute": recompute}), names_of(cell), dtype)


ALONE = [
    {"bidirectional": True},
    {"dropout": 0.4},
    {"zoneout": "mask"},
    {"zoneout": 0.3},
    {"zoneout": 0.3, "reverse": True},
]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("alone", ALONE, ids=str)
def test_each_alone(cell, alone, device, agree):
    tensors, options = case(cell, torch.float32, device, 3, 3, 20, **alone)
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


CELLS = {
    "rnn": nn.RNNCell,
    "rnn_relu": lambda *sizes: nn.RNNCell(*sizes, nonlinearity="relu"),
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
}


def step_by_step(cell, tensors, options):
    """One direction with ``torch.nn``'s cells, masks applied by hand; (y, *states)."""
    gates, weight, *state = tensors
    hidden = weight.shape[1]
    layer = CELLS[cell](gates.shape[-1], hidden)
    zeros = weight.new_zeros(len(weight))
    bias = torch.cat([zeros[: 2 * hidden], state.pop()]) if cell == "gru" else zeros
    parameters = {"weight_ih": torch.eye(len(weight)).to(weight)}  # the gates are the input
    parameters |= {"weight_hh": weight, "bias_ih": zeros, "bias_hh": bias}

    def stepped(a, state):
        return functional_call(layer, parameters, (a, state))

    outputs = []
    for t in range(gates.shape[1]):
        h, *c = state
        seen = h * options["dropout_mask"]
        if cell == "gru":  # z keeps h itself, not what U sees of it
            new = stepped(gates[:, t], seen)
            z = (gates[:, t] + seen @ weight.t())[:, hidden : 2 * hidden].sigmoid()
            after = [new + z * (h - seen)]
        elif cell == "lstm":
            after = list(stepped(gates[:, t], (seen, *c)))
        else:
            after = [stepped(gates[:, t], seen)]
        kept = [options["zoneout_h"], options.get("zoneout_c")]
        for i, (old, new, zoneout) in enumerate(zip(state, after, kept, strict=False)):
            share = zoneout[:, t].double() if isinstance(zoneout, torch.Tensor) else zoneout
            after[i] = share * old + (1 - share) * new
        state = after
        outputs.append(state[0])
    return [torch.stack(outputs, 1), *state]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize("zoneout", ["mask", 0.3])
def test_masks_mean_what_cells_make_of_them(cell, backend, zoneout, device, agree):
    tensors, options = case(
        cell, torch.float64, device, 3, 5, 4, dropout=0.5, zoneout=zoneout, bidirectional=False
    )
    tensors = [t.requires_grad_() for t in tensors]
    found = run(cell, tensors, options, backend)
    expected = step_by_step(cell, tensors, options)
    weights = [torch.randn_like(output) for output in expected]
    found += torch.autograd.grad(found, tensors, weights)
    expected += torch.autograd.grad(expected, tensors, weights)
    agree(found, expected, names_of(cell), torch.float64)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_two_directions_are_one_and_one(cell, backend, device, agree):
    options = {"zoneout": "mask", "dropout": 0.3, "resets": 0.3, "lengths": [5, 2, 4]}
    tensors, options = case(cell, torch.float64, device, 3, 5, 4, **options, bidirectional=True)
    y, *after = run(cell, tensors, options, backend)
    halves = []
    for i in range(2):
        mine = [t.chunk(2, 0 if k == 1 else -1)[i] for k, t in enumerate(tensors)]
        own = {**options, "reverse": bool(i), "bidirectional": False}
        own["reset_mask"] = options["reset_mask"][i]
        for name in ("dropout_mask", "zoneout_h", "zoneout_c"):
            if name in options:
                own[name] = options[name].chunk(2, -1)[i]
        halves.append(run(cell, mine, own, backend))
    expected = [torch.cat(pair, -1) for pair in zip(*halves, strict=True)]
    agree([y, *after], expected, names_of(cell)[: 1 + len(after)], torch.float64)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("zoneout", ["mask", 0.3])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradcheck(cell, zoneout, recompute, device):
    options = {"dropout": 0.4, "resets": 0.3, "bidirectional": True, "lengths": [2, 1]}
    tensors, options = case(cell, torch.float64, device, 2, 2, 2, zoneout=zoneout, **options)
    options["recompute"] = recompute
    given = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(
        lambda *t: run(cell, t, options, "triton"), given, fast_mode=True
    )


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("zoneout", ["mask", 0.3])
def test_the_operators_keep_pytorchs_rules(cell, zoneout, device):
    from lm_research.kernels import ops

    tensors, options = case(
        cell, torch.float32, device, 2, 3, 4, zoneout=zoneout, dropout=0.4, bidirectional=True
    )
    walk = Walk(
        directions=2,
        dropout_BH=options["dropout_mask"],
        zoneout_h=options["zoneout_h"],
        zoneout_c=options.get("zoneout_c"),
        recompute=True,
    )
    flags = (True, False) if cell == "rnn" else (True,)  # to save; no ReLU
    given = [t.requires_grad_() for t in tensors]
    torch.library.opcheck(getattr(ops, f"{cell}_scan"), (*given, *flags, *walk.flat()))


def kept_for_the_gradient(cell, tensors, options):
    """Bytes that autograd keeps beyond the scan's inputs."""
    known = {t.untyped_storage().data_ptr() for t in tensors}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.dtype.is_floating_point:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    given = [t.requires_grad_() for t in tensors]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        outputs = run(cell, given, options, "triton")
    return sum(kept.values()), outputs


@pytest.mark.parametrize(
    ("cell", "stored", "recomputed"), [("rnn", 2, 2), ("lstm", 14, 6), ("gru", 10, 2)]
)
def test_recomputing_keeps_less(cell, stored, recomputed, device):
    """Bytes for every B x T x H in bfloat16: y 2, the LSTM's c 4, four values of gates 8."""
    tensors, options = case(cell, torch.bfloat16, device, 2, 8, 16)
    for recompute, expected in ((False, stored), (True, recomputed)):
        found, _ = kept_for_the_gradient(cell, tensors, {**options, "recompute": recompute})
        assert found == expected * 2 * 8 * 16


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_nan_in_padding_stays_there(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 4, 8, lengths=[4, 2])
    tensors[0][1, 2:] = float("nan")
    for recompute in (False, True):
        given = [t.detach().requires_grad_() for t in tensors]
        y, *_ = run(cell, given, {**options, "recompute": recompute}, "triton")
        gradients = torch.autograd.grad(y.sum(), given[:3])
        assert all(part.isfinite().all() for part in (y, *gradients))


REFUSED = [
    ({"reverse": True, "bidirectional": True}, ValueError, "reverse is for one direction"),
    ({"dropout_mask": torch.ones(3, 4)}, RuntimeError, "Expected dropout_mask size"),
    ({"zoneout_h": torch.zeros(2, 3, 4)}, RuntimeError, "zoneout_h's type"),
    ({"zoneout_h": torch.zeros(2, 4, 4).bool()}, RuntimeError, "Expected zoneout_h size"),
    ({"zoneout_h": 1.5}, RuntimeError, "share between 0 and 1"),
    ({"reset_mask": torch.zeros(2, 2, 3).bool()}, RuntimeError, "Expected reset_mask size"),
]


@pytest.mark.parametrize(("options", "error", "said"), REFUSED)
def test_what_does_not_fit_is_named(options, error, said):
    tensors = [torch.zeros(2, 3, 4), torch.zeros(4, 4), torch.zeros(2, 4)]
    with pytest.raises(error, match=said):
        run("rnn", tensors, options, "auto")
