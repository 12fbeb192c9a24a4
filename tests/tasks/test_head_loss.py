"""The output layer's loss by blocks is the loss with all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.tasks import head_loss
from lm_research.tasks.head_loss import NO_TARGET


@pytest.mark.parametrize("ignore", [NO_TARGET, -1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("projected", [False, True])
def test_targets_that_do_not_count(ignore, smoothing, projected, monkeypatch):
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 9)) if projected else nn.Linear(6, 9)
    head.double()
    y_BTH = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    targets_BT = torch.randint(9, (3, 4))
    targets_BT[1, 2:] = targets_BT[2, 1] = ignore
    found = []
    for many in (1 << 25, 0):
        monkeypatch.setattr(head_loss, "MANY_LOGITS", many)
        loss = head_loss.head_loss(head, y_BTH, targets_BT, smoothing, ignore)
        found.append([loss, *torch.autograd.grad(loss, [y_BTH, *head.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    kept = targets_BT != ignore
    expected = F.cross_entropy(head(y_BTH[kept]), targets_BT[kept], label_smoothing=smoothing)
    torch.testing.assert_close(found[0][0], expected, rtol=1e-12, atol=0)
    assert not found[1][1][1, 2:].any()
