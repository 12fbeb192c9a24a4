"""What PyTorch's users do to a layer beside calling it: copy, save, swap, parametrize, scale."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN

LAYERS = [FusedRNN, FusedLSTM, FusedGRU]
BACKENDS = ["torch", "reference", "triton", *([] if torch.cuda.is_available() else ["cpu"])]
EVERY = pytest.mark.parametrize("backend", BACKENDS)


def made(cls=FusedLSTM, backend="torch", device="cpu", **options):
    torch.manual_seed(0)
    layer = cls(5, 8, batch_first=True, backend=backend, **options).to(device)
    return layer, torch.randn(3, 4, 5).to(device)


def gradients(layer, x):
    """By every parameter, of a loss of the outputs."""
    parameters = dict(layer.named_parameters())
    loss = layer(x)[0].square().sum()
    return dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True))


@EVERY
@pytest.mark.parametrize("cls", LAYERS)
def test_a_copy_is_a_layer_of_its_own(cls, backend, device):
    layer, x = made(cls, backend, device, num_layers=2)
    before = layer(x)[0]
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(x)[0], before)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(x)[0].any()
    assert torch.equal(layer(x)[0], before)


@EVERY
@pytest.mark.parametrize("cls", LAYERS)
def test_a_saved_layer_is_read_again(cls, backend, device):
    layer, x = made(cls, backend, device, recurrent_bias=False)
    layer(x)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    read = torch.load(file, weights_only=False)
    assert torch.equal(read(x)[0], layer(x)[0])
    assert read.state_dict().keys() == layer.state_dict().keys()
    assert {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0"} == read.state_dict().keys()


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_type_is_that_of_all_weights(cls, dtype):
    layer, x = made(cls)
    layer.to(dtype)
    assert {tensor.dtype for tensor in layer.state_dict().values()} == {dtype}
    assert layer(x.to(dtype))[0].dtype == dtype
    plain = cls.namesake(5, 8, batch_first=True, dtype=dtype)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(plain(x.to(dtype))[0], layer(x.to(dtype))[0])


@EVERY
def test_functional_call_takes_the_weights_it_is_given(backend, device):
    layer, x = made(backend=backend, device=device)
    own = layer(x)[0]
    doubled = {name: 2 * p.detach() for name, p in layer.named_parameters()}
    wanted = copy.deepcopy(layer)
    wanted.load_state_dict(doubled)
    leaves = {name: tensor.requires_grad_() for name, tensor in doubled.items()}
    found = functional_call(layer, leaves, (x,))[0]
    torch.testing.assert_close(found, wanted(x)[0])
    found.sum().backward()
    assert all(leaf.grad.any() for leaf in leaves.values())
    assert torch.equal(layer(x)[0], own)
    assert all(p.grad is None for p in layer.parameters())


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


@EVERY
def test_a_parametrized_weight_is_the_one_that_is_used(backend, device):
    layer, x = made(backend=backend, device=device)
    wanted = copy.deepcopy(layer)
    with torch.no_grad():
        wanted.weight_hh_l0 /= 2
    parametrize.register_parametrization(layer, "weight_hh_l0", Half())
    torch.testing.assert_close(layer(x)[0], wanted(x)[0])
    found, expected = gradients(layer, x), gradients(wanted, x)
    original = found["parametrizations.weight_hh_l0.original"]
    torch.testing.assert_close(original, expected["weight_hh_l0"] / 2)
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original.zero_()
        wanted.weight_hh_l0.zero_()
    torch.testing.assert_close(layer(x)[0], wanted(x)[0])
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    torch.testing.assert_close(layer(x)[0], wanted(x)[0])


@EVERY
def test_weight_norm(backend, device):
    layer, x = made(backend=backend, device=device)
    own = layer(x)[0]
    parametrizations.weight_norm(layer, "weight_hh_l0")
    torch.testing.assert_close(layer(x)[0], own)
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original0 *= 2
    assert not torch.allclose(layer(x)[0], own)
    assert all(gradient.any() for gradient in gradients(layer, x).values())


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_a_scaled_loss_in_half_precision(cls, backend, device, agree):
    """As torch.amp.GradScaler does it: gradients of a large multiple, divided by it afterwards."""
    layer, x = made(cls, backend, device)
    exact = copy.deepcopy(layer).double()
    exact.backend = "reference"
    scale = 2.0**10
    with torch.autocast(device, torch.float16):
        loss = layer(x)[0].float().square().mean() * 1e-3
    parameters = list(layer.parameters())
    found = [g / scale for g in torch.autograd.grad(scale * loss, parameters)]
    wanted = exact(x.double())[0].square().mean() * 1e-3
    expected = torch.autograd.grad(wanted, list(exact.parameters()))
    agree(found, expected, [name for name, _ in layer.named_parameters()], torch.float16)


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_an_overflow_is_seen_by_the_scaler(backend, device):
    layer, x = made(backend=backend, device=device)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**40)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = [p.detach().clone() for p in layer.parameters()]
    with torch.autocast(device, torch.float16):
        loss = layer(x)[0].float().square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**39
    assert all(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))


@EVERY
@pytest.mark.parametrize("cls", LAYERS)
def test_a_scan_is_seen_as_an_operator_only_by_what_watches(cls, backend, device):
    """Its results and gradients are the same to the bit either way."""
    if backend in ("torch", "reference"):
        pytest.skip("no operator of ours")
    layer, x = made(cls, backend, device)
    seen = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    quick = gradients(layer, x)
    with Watching():
        watched = gradients(layer, x)
    name = {"FusedRNN": "rnn", "FusedLSTM": "lstm", "FusedGRU": "gru"}[cls.__name__]
    assert {f"lm_research.{name}_scan.default", f"lm_research.{name}_scan_backward.default"} <= {
        *seen
    }
    assert all(torch.equal(quick[key], watched[key]) for key in quick)
    loss = layer(x.requires_grad_())[0].square().sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        first.sum().backward()


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("form", ["single", "spread"])
def test_a_scan_without_a_gradient_may_be_watched(cls, form, device):
    """PyTorch refuses an operator that returns one tensor twice, though only if it is watched."""
    layer, x = made(cls, f"triton:{form}", device)
    with torch.no_grad():
        alone = layer(x)[0]
        with torch.profiler.profile():
            watched = layer(x)[0]
    assert torch.equal(alone, watched)


def packed(layer, x, lengths):
    """What ``lengths`` stands for, of torch.nn's layer."""
    given = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    y, after = layer(given)
    return nn.utils.rnn.pad_packed_sequence(y, True, total_length=x.shape[1])[0], after


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_state_that_would_grow_through_the_padding(bias, bidirectional):
    """With relu it is beyond float64 behind a row's end, and 0 times it is no gradient."""
    options = {"num_layers": 2, "bidirectional": bidirectional, "bias": bias}
    layer = made(FusedRNN, nonlinearity="relu", **options)[0].double()
    plain = nn.RNN(5, 8, nonlinearity="relu", batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "weight_hh" in name:
                parameter.copy_(100 * torch.eye(8))
    plain.load_state_dict(layer.state_dict())
    x, lengths = torch.randn(3, 200, 5, dtype=torch.float64), torch.tensor([3, 5, 1])
    found, expected = [], []
    for kept, results in (
        (found, layer(x, lengths=lengths)),
        (expected, packed(plain, x, lengths)),
    ):
        kept += results
        owner = layer if kept is found else plain
        loss = sum(part.square().sum() for part in results)
        kept += torch.autograd.grad(loss, list(owner.parameters()))
    assert all(part.isfinite().all() for part in found)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_state_that_outgrows_its_type_at_the_first_step_of_padding():
    layer = made(FusedRNN, nonlinearity="relu")[0]
    x, lengths = torch.zeros(1, 3, 5), torch.tensor([1])
    with torch.no_grad():
        layer.weight_hh_l0.fill_(1e10)
        layer.bias_ih_l0.fill_(1e35)
    y, h = layer(x, lengths=lengths)
    loss = (y.sum() + h.sum()) * 1e-36
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(layer.parameters())))
