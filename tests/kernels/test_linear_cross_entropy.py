"""The loss by blocks against the loss of all logits at once."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import func
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian
from torch.utils._python_dispatch import TorchDispatchMode

from lm_research.kernels import (
    cross_entropy_ops,
    linear_cross_entropy,
    linear_cross_entropy_with_hits,
    linear_cross_entropy_with_ranks,
)
from lm_research.kernels.linear_cross_entropy import block_rows


def inputs(rows=13, features=5, vocabulary=11, dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    made = [draw(rows, features), draw(vocabulary, features), draw(vocabulary) if bias else None]
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return [None if t is None else t.requires_grad_() for t in made], targets


def plain(x, weight, bias, targets, smoothing=0.0):
    return F.cross_entropy(F.linear(x, weight, bias), targets, label_smoothing=smoothing)


def gradients(loss, given):
    return torch.autograd.grad(loss, [t for t in given if t is not None])


@pytest.mark.parametrize("rows", [1, 4, 13, 100])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_to_all_logits_at_once(rows, bias, smoothing):
    given, targets = inputs(bias=bias)
    ours = linear_cross_entropy(*given, targets, smoothing, rows)
    theirs = plain(*given, targets, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    # A loss that is scaled, as by an accumulation or a gradient scaler, scales its gradients.
    for a, b in zip(gradients(ours * 3, given), gradients(theirs * 3, given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_gradcheck(backend):
    given, targets = inputs(4, 3, 5)

    def loss(*t):
        return linear_cross_entropy(*t, targets, 0.2, 3, backend=backend)

    torch.autograd.gradcheck(loss, given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_as_near_to_float64_as_the_plain_loss(dtype, autocast):
    kind = torch.float32 if autocast else dtype
    given, targets = inputs(64, 32, 100, kind)
    exact = [t.detach().double().requires_grad_() for t in given]
    true = [plain(*exact, targets), *gradients(plain(*exact, targets), exact)]

    def errors(compute):
        with torch.autocast("cpu", dtype, enabled=autocast and dtype != torch.float32):
            loss = compute()
        found = [loss, *gradients(loss, given)]
        return [((a - b).norm() / b.norm()).item() for a, b in zip(found, true, strict=True)]

    ours = errors(lambda: linear_cross_entropy(*given, targets, 0.0, 16))
    theirs = errors(lambda: plain(*given, targets))
    step = torch.finfo(dtype).eps
    assert all(a <= 1.5 * b + 2 * step for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


def test_only_what_is_asked_for_is_computed():
    given, targets = inputs()
    frozen = [given[0], given[1].detach(), given[2].detach()]
    (found,) = torch.autograd.grad(linear_cross_entropy(*frozen, targets), given[:1])
    (expected,) = torch.autograd.grad(plain(*given, targets), given[:1])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    with torch.no_grad():
        assert not linear_cross_entropy(*given, targets).requires_grad


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that an operation gives."""

    numel = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


def test_no_tensor_holds_the_logits_of_all_rows():
    vocabulary = 30_000
    given, targets = inputs(4096, 8, vocabulary, torch.float32)
    rows = block_rows(vocabulary)
    options = (torch.float32, 0.1, -100, rows, "all", False, [True] * 3)
    given = [t.detach() for t in given]
    with Largest() as seen:  # it does not look into operators of our own
        cross_entropy_ops.compute(*given, targets, *options)
    assert seen.numel == rows * vocabulary < 4096 * vocabulary / 10


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_targets_that_do_not_count(backend):
    given, targets = inputs()
    targets[::3] = -7
    ours = linear_cross_entropy(*given, targets, 0.1, 4, ignore_index=-7, backend=backend)
    logits = F.linear(*given)
    theirs = F.cross_entropy(logits, targets, ignore_index=-7, label_smoothing=0.1)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    for a, b in zip(gradients(ours, given), gradients(theirs, given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_no_target_counts(backend):
    given, targets = inputs()
    loss = linear_cross_entropy(*given, torch.full_like(targets, -100), backend=backend)
    assert loss.isnan()
    assert all(not g.any() for g in gradients(loss, given))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_ranks_are_places_in_a_stable_sort(backend):
    given, targets = inputs(40, 3, 30, torch.float32)
    given[0] = given[0].detach().round()
    given[1] = given[1].detach().round()  # few values: many ties
    given[2] = torch.zeros(30)
    targets[5] = -100
    loss, rank_N = linear_cross_entropy_with_ranks(*given, targets, rows=16, backend=backend)
    order_NV = F.linear(*given).sort(dim=1, descending=True, stable=True).indices
    places_N = (order_NV == targets[:, None]).int().argmax(1)
    assert rank_N[5] == 30
    counted = targets != -100
    assert torch.equal(rank_N[counted], places_N[counted])
    torch.testing.assert_close(loss, F.cross_entropy(F.linear(*given), targets))
    same, hit_N = linear_cross_entropy_with_hits(*given, targets, rows=16, backend=backend)
    assert torch.equal(hit_N, rank_N == 0)
    assert torch.equal(same, loss)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_it_is_compiled_without_a_graph_break(backend, whole_graph):
    given, targets = inputs(dtype=torch.float32)

    def both(*t):
        return linear_cross_entropy_with_ranks(*t, targets, 0.1, 4, backend=backend)

    (loss, ranks), (compiled, places) = both(*given), whole_graph(both)(*given)
    assert torch.equal(loss, compiled)
    assert torch.equal(ranks, places)
    for a, b in zip(gradients(loss, given), gradients(compiled, given), strict=True):
        assert torch.equal(a, b)


def test_what_the_operator_says_of_its_results():
    given, targets = inputs(dtype=torch.bfloat16)
    options = (torch.bfloat16, 0.1, -100, 4, "all", False, [True, True, False])
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    operator = cross_entropy_ops.linear_cross_entropy
    torch.library.opcheck(operator, (*given, targets, *options), test_utils=tests)


def test_a_target_beyond_the_vocabulary_is_an_error():
    given, targets = inputs()
    targets[3] = 11
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        linear_cross_entropy(*given, targets)


def test_triton_is_not_taken_where_it_cannot_serve(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    given, targets = inputs()
    with pytest.raises(RuntimeError, match=r"backend='triton' cannot serve.*use 'auto'"):
        linear_cross_entropy(*given, targets, backend="triton")
    assert linear_cross_entropy(*given, targets).isfinite()


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_it_is_differentiated_once(backend):
    given, targets = inputs()
    loss = linear_cross_entropy(*given, targets, backend=backend)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        torch.autograd.grad(loss, given[:1], create_graph=True)


def test_no_rows():
    given, targets = inputs(0)
    with pytest.raises(ValueError, match="no rows"):
        linear_cross_entropy(*given, targets)


X, W, B, Y = torch.zeros(10, 4), torch.zeros(7, 4), torch.zeros(7), torch.zeros(10).long()
UNFIT = [
    ((X, W, B, Y[:1]), {}, "Expected input batch_size (10) to match target batch_size (1)"),
    ((X, W, B, Y[:, None]), {}, "1D target tensor expected (N), got [10, 1]"),
    ((X, W, B, torch.tensor(0)), {}, "1D target tensor expected (N), got []"),
    ((X, W, B, Y.int()), {}, "Long (torch.int64), but got torch.int32"),
    ((X, W, B, Y.float()), {}, "Long (torch.int64), but got torch.float32"),
    ((X, W, B, Y.to("meta")), {}, "found input tensor at cpu and target tensor at meta"),
    ((X[None], W, B, Y), {}, "x must have 2 dimensions (N, H), got 3"),
    ((X.long(), W.long(), B.long(), Y), {}, "floating, got torch.int64"),
    ((X, W[:, :3], B, Y), {}, "Expected weight size (V, 4) with V at least 1, got [7, 3]"),
    ((X, W[:0], None, Y), {}, "Expected weight size (V, 4) with V at least 1, got [0, 4]"),
    ((X, W.double(), B, Y), {}, "torch.float32 and weight tensor with torch.float64"),
    ((X, W.to("meta"), B, Y), {}, "at cpu and weight tensor at meta"),
    ((X, W, B[:1], Y), {}, "Expected bias size (7,), got [1]"),
    ((X, W, B.bfloat16(), Y), {}, "torch.float32 and bias tensor with torch.bfloat16"),
    ((X, W, B, Y), {"label_smoothing": 1.5}, "between 0.0 and 1.0. Got: 1.5"),
    ((X, W, B, Y), {"label_smoothing": float("nan")}, "between 0.0 and 1.0. Got: nan"),
    ((X, W, B, Y), {"rows": 0}, "rows of a block must be at least 1, got 0"),
    ((X, W, B, Y), {"backend": "trition"}, "one of auto, torch, triton; did you mean 'triton'?"),
]


@pytest.mark.parametrize(("given", "options", "said"), UNFIT, ids=[case[2] for case in UNFIT])
def test_what_does_not_fit_is_named(given, options, said):
    with pytest.raises((RuntimeError, ValueError), match=re.escape(said)):
        linear_cross_entropy(*given, **options)


def test_autocast_takes_weights_of_another_type():
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(X.bfloat16(), W, B, Y)
        torch.testing.assert_close(loss, plain(X.bfloat16(), W, B, Y))


def of_x(x_NH):
    return linear_cross_entropy(x_NH, W, B, Y)


def in_a_dual_level(function):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(X, X))).tangent


TAKEN = {
    "dual level": in_a_dual_level,
    "dual level, vmap": lambda f: in_a_dual_level(lambda x: func.vmap(f)(x[None])),
    "jvp": lambda f: func.jvp(f, (X,), (X,)),
    "jvp of the weight": lambda f: func.jvp(lambda w: plain_of(f, w), (W,), (W,)),
    "jvp of vmap": lambda f: func.jvp(func.vmap(f), (X[None],), (X[None],)),
    "jvp of a compiled one": lambda f: func.jvp(compiled(f), (X,), (X,)),
    "compiled jvp": lambda f: compiled(lambda x: func.jvp(f, (x,), (x,)))(X),
    "jacfwd": lambda f: func.jacfwd(f)(X),
    "jacobian": lambda f: jacobian(f, X, strategy="forward-mode", vectorize=True),
    "grad": lambda f: func.grad(f)(X),
    "compiled grad": lambda f: compiled(func.grad(f))(X),
    "grad of many": lambda f: func.vmap(func.grad(f))(X[None]),
    "vjp": lambda f: func.vjp(f, X)[1](torch.ones(())),
    "jacrev": lambda f: func.jacrev(f)(X),
    "hessian": lambda f: func.hessian(f)(X),
}


def plain_of(function, weight):
    """``function`` at rows that depend on ``weight``."""
    return function(X + weight.sum())


def compiled(function):
    return torch.compile(function, backend="eager")


@pytest.mark.parametrize("name", TAKEN)
def test_derivatives_that_an_operator_has_not_are_refused(name):
    """They would be zero, or None."""
    with pytest.raises(RuntimeError, match=r"no derivative in forward mode.*use F.cross_entropy"):
        TAKEN[name](of_x)


def test_a_graph_made_before_is_not_taken():
    loss = compiled(of_x)
    loss(X)
    for name in ("dual level", "jvp", "grad"):
        with pytest.raises(RuntimeError, match="no derivative in forward mode"):
            TAKEN[name](loss)
    assert loss(X).isfinite()


def test_where_nothing_is_differentiated_transforms_do_not_matter():
    given, targets = inputs(dtype=torch.float32)
    x, weight, bias = (t.detach() for t in given)

    def loss(x_NH):
        return linear_cross_entropy(x_NH, weight, bias, targets)

    def told(w):
        with torch.no_grad():
            number = loss(x + w)
        return (w * 2).sum(), (number, loss((x + w).detach()))

    _, numbers = func.grad(told, has_aux=True)(torch.zeros(()))
    with forward_ad.dual_level():
        numbers = [*numbers, loss(x), *func.vmap(loss)(torch.stack([x, x]))]
    for number in numbers:
        torch.testing.assert_close(number, loss(x))
