"""Optimizers whose step touches the rows of a table that have a gradient, and no others.

A vectorizer's tables (``vectorizers/tables.py``) get sparse gradients from the moment that one of
these takes them; all other parameters are updated by PyTorch's class of the same name. See
docs/decisions/0028-sparse-steps.md.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Optimizer

from lm_research.config.types import DropProbability, NonNegativeFloat, PositiveFloat
from lm_research.tasks import row_steps
from lm_research.vectorizers.tables import row_reads, rows_of

_log = logging.getLogger(__name__)


def obstacle(table: Tensor) -> str | None:
    """Why a table is to have dense gradients; None: it can do without."""
    if table.device.type != "cpu":
        return f"it is on {table.device}, and steps on rows are for a CPU"
    if table.dtype not in (torch.float32, torch.float64):
        return f"its numbers are {table.dtype}, and steps on rows know float32 and float64"
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return "several processes average their gradients, which are dense"
    if not table.is_contiguous():
        return "its rows do not lie one after the other"
    return None


class TakesTables(Optimizer, ABC):
    """Mix-in before a class of ``torch.optim``, which updates what has a dense gradient."""

    def take_tables(self) -> list[tuple[dict[str, Any], Tensor]]:
        """Ask for sparse gradients of all tables; returns each with its group of parameters."""
        taken = []
        for group in self.param_groups:
            for parameter in group["params"]:
                reads = row_reads(parameter)
                fault = obstacle(parameter) if reads is not None else None
                if fault:
                    shape = " x ".join(map(str, parameter.shape))
                    told = "%s: the table of %s has dense gradients: %s"
                    _log.warning(told, type(self).__name__, shape, fault)
                elif reads is not None:
                    reads.sparse, reads.before = True, None
                    taken.append((group, parameter))
        return taken

    @abstractmethod
    def step_rows(
        self, group: dict[str, Any], table_VD: Tensor, rows_U: Tensor, gradient_UD: Tensor
    ) -> None:
        """Update a table in place; ``rows_U`` are distinct."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found = [(group, p) for group in self.param_groups for p in group["params"]]
        sparse = [(g, p, p.grad) for g, p in found if p.grad is not None and p.grad.is_sparse]
        for _, parameter, _ in sparse:
            parameter.grad = None  # which the dense step passes over
        _require_sparse(found)
        super().step()
        for group, parameter, gradient in sparse:
            parameter.grad = gradient
            self.step_rows(group, parameter, *rows_of(gradient))
        return loss


def _require_sparse(found: list[tuple[dict[str, Any], Tensor]]) -> None:
    for _, parameter in found:
        reads = row_reads(parameter)
        if parameter.grad is not None and reads is not None and reads.sparse:
            raise RuntimeError(
                f"a table of shape {tuple(parameter.shape)} has a dense gradient: something reads "
                "it past lm_research.vectorizers.tables; call read_whole(parameter) of that module "
                "before the optimizer is made, or use the dense optimizer of the same name"
            )


class SparseSGD(TakesTables, SGD):
    """theta -= lr g: equal to ``torch.optim.SGD`` without momentum and weight decay.

    Args:
        params: parameters, or groups of them.
        lr: the rate.
        fused: see ``torch.optim.SGD``; of dense gradients.
    """

    def __init__(
        self, params: Iterable[Any], lr: PositiveFloat = 1.0, fused: bool | None = None
    ) -> None:
        super().__init__(params, lr=lr, fused=fused)
        self.take_tables()

    def step_rows(
        self, group: dict[str, Any], table_VD: Tensor, rows_U: Tensor, gradient_UD: Tensor
    ) -> None:
        """See the base class."""
        row_steps.sgd(rows_U, gradient_UD, table_VD, group["lr"])


class SparseAdagrad(TakesTables, Adagrad):
    """Adagrad (Duchi et al. 2011), equal to ``torch.optim.Adagrad`` without weight decay.

    s += g g, theta -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps): no row moves without a
    gradient, dense or not.

    Args:
        params: parameters, or groups of them.
        lr: the rate.
        lr_decay: how fast the rate falls by itself.
        initial_accumulator_value: of s.
        eps: added to the root.
        fused: see ``torch.optim.Adagrad``; of dense gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 0.01,
        lr_decay: NonNegativeFloat = 0.0,
        initial_accumulator_value: NonNegativeFloat = 0.0,
        eps: NonNegativeFloat = 1e-10,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            fused=fused,
        )
        self.take_tables()

    def step_rows(
        self, group: dict[str, Any], table_VD: Tensor, rows_U: Tensor, gradient_UD: Tensor
    ) -> None:
        """See the base class."""
        state = self.state[table_VD]
        state["step"] += 1
        rate = group["lr"] / (1 + (float(state["step"]) - 1) * group["lr_decay"])
        row_steps.adagrad(rows_U, gradient_UD, table_VD, state["sum"], rate, group["eps"])


class SparseAdadelta(TakesTables, Adadelta):
    """AdaDelta (Zeiler 2012, arXiv:1212.5701), equal to ``torch.optim.Adadelta`` without decay.

    s = rho s + (1 - rho) g g, x = g sqrt(a + eps) / sqrt(s + eps), a = rho a + (1 - rho) x x,
    theta -= lr x. No row moves without a gradient; its s and a shrink by rho at every step, which
    is made up for at its next gradient (``last`` of the state: the step of a row's last one).

    Args:
        params: parameters, or groups of them.
        lr: on the step.
        rho: of both means.
        eps: added below both roots.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 1.0,
        rho: DropProbability = 0.95,
        eps: PositiveFloat = 1e-6,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps)
        self.take_tables()

    def step_rows(
        self, group: dict[str, Any], table_VD: Tensor, rows_U: Tensor, gradient_UD: Tensor
    ) -> None:
        """See the base class."""
        state = self.state[table_VD] or self._begun(table_VD)
        state["step"] += 1
        missed_U = state["step"] - state["last"][rows_U] - 1
        shrink_U1 = (group["rho"] ** missed_U.double()).to(table_VD.dtype)[:, None]
        given = rows_U, gradient_UD, table_VD, state["square_avg"], state["acc_delta"], shrink_U1
        row_steps.adadelta(*given, group["lr"], group["rho"], group["eps"])
        state["last"][rows_U] = int(state["step"])

    def _begun(self, table_VD: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[table_VD]
        state["step"] = torch.zeros((), dtype=torch.float32)  # as PyTorch has it, exact up to 2^24
        state["last"] = torch.zeros(len(table_VD), dtype=torch.float32)
        state["square_avg"], state["acc_delta"] = (torch.zeros_like(table_VD) for _ in range(2))
        return state
