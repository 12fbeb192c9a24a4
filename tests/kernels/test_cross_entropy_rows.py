"""Rows of logits turned into their gradient, by Triton and by PyTorch, against float64."""

import pytest
import torch
import torch.nn.functional as F

from lm_research.kernels.cross_entropy_rows import Asked, ranks_of, turn_into_gradient
from lm_research.kernels.fused import cross_entropy

TURNS = {"torch": turn_into_gradient, "triton": cross_entropy.turn_into_gradient}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
IGNORE = -100
EVERY = pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
TYPES = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def drawn(rows, vocabulary, dtype, device, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64) * scale
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return logits.to(dtype).to(device), targets.to(device)


def expected(logits, targets, smoothing=0.0):
    """Losses, and the gradients of their sum: logits and bias."""
    exact = logits.detach().double().requires_grad_()
    options = {"ignore_index": IGNORE, "label_smoothing": smoothing, "reduction": "none"}
    loss = F.cross_entropy(exact, targets, **options)
    (grad,) = torch.autograd.grad(loss.sum(), exact)
    return loss.detach(), grad, grad.sum(0)


def found(turn, logits, targets, smoothing=0.0, **asked):
    logits, bias = logits.clone(), torch.zeros_like(logits[0], dtype=torch.float32)
    asked = {"ranks": "none", "gradient": True, **asked}
    loss, ranks = turn(logits, targets, Asked(smoothing, IGNORE, **asked), bias)
    return loss, logits, bias, ranks


@EVERY
@TYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("rows", "vocabulary"), [(1, 2), (1, 1000), (3, 37), (5, 1025), (2, 9001), (2, 4096)]
)
def test_losses_and_gradients(turn, dtype, rows, vocabulary, smoothing, device, agree):
    logits, targets = drawn(rows, vocabulary, dtype, device)
    if rows > 2:
        targets[1] = IGNORE
    *ours, _ = found(turn, logits, targets, smoothing)
    agree(ours, expected(logits, targets, smoothing), ["loss", "d logits", "d bias"], dtype)
    if rows > 2:
        assert not ours[1][1].any()
        assert ours[0][1] == 0


@EVERY
@TYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("far", [1e4, -1e4])
def test_logits_far_from_zero(turn, dtype, far, smoothing, device, agree):
    """All of them there, where float32 itself has three digits behind the point; and one alone."""
    logits, targets = drawn(4, 1500, torch.float32, device)
    logits[:2] += far
    logits[2, 7] = far
    logits[3, targets[3]] = far
    logits = logits.to(dtype)
    *ours, _ = found(turn, logits, targets, smoothing)
    agree(ours, expected(logits, targets, smoothing), ["loss", "d logits", "d bias"], dtype)


@EVERY
def test_a_certain_target_keeps_its_gradient(turn, device):
    """p - 1 in float32 would be a multiple of 6e-8; 2^-21 is what is left of the others."""
    logits = torch.tensor([[14.5561, 0.0]], device=device)
    loss, grad, *_ = found(turn, logits, torch.tensor([0], device=device))
    _, exact, _ = expected(logits, torch.tensor([0], device=device))
    assert grad[0, 0].item() == pytest.approx(exact[0, 0].item(), abs=1.2e-7)
    assert grad[0, 1].item() == pytest.approx(exact[0, 1].item(), rel=1e-5)
    assert 0 <= loss.item() <= 1e-6


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of inf - inf
@EVERY
def test_logits_that_are_not_finite(turn, device):
    logits, targets = drawn(4, 1100, torch.float32, device)
    logits[0, 1050] = float("nan")
    logits[1, 3] = float("inf")
    logits[2, (targets[2] + 1) % 1100] = -float("inf")
    loss, grad, _, ranks = found(turn, logits, targets, ranks="all")
    assert loss[:2].isnan().all()
    assert grad[0].isnan().all()
    exact_loss, exact, _ = expected(logits, targets)
    torch.testing.assert_close(loss[2:].double(), exact_loss[2:], rtol=1e-5, atol=0)
    torch.testing.assert_close(grad[2:].double(), exact[2:], rtol=1e-4, atol=1e-7)
    assert ranks[0] > 0  # NaN is never taken for a prediction that is right


@EVERY
@TYPES
def test_without_gradients_logits_stay(turn, dtype, device, agree):
    logits, targets = drawn(3, 1030, dtype, device)
    loss, same, bias, _ = found(turn, logits, targets, 0.1, gradient=False)
    agree([loss], expected(logits, targets, 0.1)[:1], ["loss"], dtype)
    assert torch.equal(same, logits)
    assert not bias.any()


@EVERY
@TYPES
@pytest.mark.parametrize("vocabulary", [3, 40, 1500])
def test_ranks(turn, dtype, vocabulary, device):
    """By counting, with ties in every type."""
    logits, targets = drawn(9, vocabulary, dtype, device)
    logits = logits.round()
    targets[2] = IGNORE
    *_, ranks = found(turn, logits, targets, ranks="all")
    for row, target, rank in zip(logits.tolist(), targets.tolist(), ranks.tolist(), strict=True):
        own = (torch.inf, 0) if target == IGNORE else (row[target], -target)
        before = sum((z, -v) > own for v, z in enumerate(row))
        assert rank == (vocabulary if target == IGNORE else before)
    assert torch.equal(ranks[3:], ranks_of(logits[3:], targets[3:, None]))


def test_one_row_does_not_depend_on_the_others(device):
    logits, targets = drawn(5, 1030, torch.float32, device)
    loss, grad, *_ = found(TURNS["triton"], logits, targets)
    one, alone, *_ = found(TURNS["triton"], logits[3:4], targets[3:4])
    assert torch.equal(loss[3:4], one)
    assert torch.equal(grad[3:4], alone)


def test_a_target_that_does_not_exist_makes_the_loss_nan(device):
    logits, targets = drawn(3, 20, torch.float32, device)
    targets[1] = 20
    loss, *_ = found(TURNS["triton"], logits, targets)
    assert loss.isnan().tolist() == [False, True, False]
