"""The output layer's loss by blocks is the loss with all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.tasks import head_loss
from lm_research.tasks.head_loss import NO_TARGET


@pytest.mark.parametrize("ignore", [NO_TARGET, -1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [False, True])
def test_targets_that_do_not_count(ignore, smoothing, bias, monkeypatch):
    torch.manual_seed(0)
    head = nn.Linear(6, 9, bias=bias).double()
    y_NH = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    targets_N = torch.randint(9, (12,))
    targets_N[6:8] = targets_N[9] = ignore
    found = []
    for many in (1 << 25, 0):
        monkeypatch.setattr(head_loss, "MANY_LOGITS", many)
        loss = head_loss.head_loss(y_NH, head.weight, head.bias, targets_N, smoothing, ignore)
        found.append([loss, *torch.autograd.grad(loss, [y_NH, *head.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    kept = targets_N != ignore
    expected = F.cross_entropy(head(y_NH[kept]), targets_N[kept], label_smoothing=smoothing)
    torch.testing.assert_close(found[0][0], expected, rtol=1e-12, atol=0)
    assert not found[1][1][6:8].any()
