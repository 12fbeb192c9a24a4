"""Adam and AdamW whose step touches the rows of a table that have a gradient, and no others."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Adam

from lm_research.config.types import DropProbability, NonNegativeFloat, PositiveFloat
from lm_research.tasks import row_steps
from lm_research.tasks.deferred import DeferredRows
from lm_research.tasks.row_steps import AdamSettings, AdamStep, AdamTables
from lm_research.tasks.sparse_optimizers import TakesTables
from lm_research.vectorizers.tables import row_reads


class SparseAdam(TakesTables, Adam):
    """Adam (Kingma & Ba 2015) on tables with sparse gradients.

    Args:
        params: parameters, or groups of them.
        lr: the rate.
        betas: how fast the moments fade; (0.9, 0.999).
        eps: added to the root.
        weight_decay: times theta, joins the gradient.
        untouched: rows that a step does not touch. "deferred": they move as in
            ``torch.optim.Adam``, but not before they are read: equal to it within rounding,
            schedules included, its state dict too. "lazy": they stay, moments and all, as in
            ``torch.optim.SparseAdam``, whose formula it is (eps joins before the bias correction).
        fused: see ``torch.optim.Adam``; of dense gradients.

    Raises:
        ValueError: "deferred" with eps 0, as a row without any gradient so far would be divided by
            it; "lazy" with weight decay, which would depend on how often a row is read.
    """

    decoupled = False
    """Whether weight decay is AdamW's."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 0.001,
        betas: list[DropProbability] | None = None,
        eps: NonNegativeFloat = 1e-8,
        weight_decay: NonNegativeFloat = 0.0,
        untouched: Literal["deferred", "lazy"] = "deferred",
        fused: bool | None = None,
    ) -> None:
        first, second = betas or (0.9, 0.999)
        super().__init__(
            params,
            lr=lr,
            betas=(float(first), float(second)),  # torch refuses the 0 of a configuration
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=self.decoupled,
            fused=fused,
        )
        self.untouched = untouched
        self.deferred: dict[Tensor, DeferredRows] = {}
        self.tables = [table for _, table in self.take_tables()]
        for group in self.param_groups:
            _require(group, untouched)

    def step_rows(
        self, group: dict[str, Any], table_VD: Tensor, rows_U: Tensor, gradient_UD: Tensor
    ) -> None:
        """See the base class."""
        state = self._state(table_VD)
        settings = self._settings(group)
        late = self._deferred(table_VD, group) if self.untouched == "deferred" else None
        if late is not None:
            late.catch_up(rows_U)  # of a gradient that no read has announced
        state["step"] += 1
        step = self._step(group, int(state["step"]))
        tables = _tables(table_VD, state)
        row_steps.adam(rows_U, gradient_UD, tables, step, settings)
        if late is not None:
            late.step(rows_U, step)

    def _state(self, table_VD: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[table_VD]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(table_VD)
            state["exp_avg_sq"] = torch.zeros_like(table_VD)
        return state

    def _step(self, group: dict[str, Any], number: int) -> AdamStep:
        rate, (beta1, beta2) = group["lr"], group["betas"]
        keep = 1 - rate * group["weight_decay"] if self.decoupled else 1.0
        size, root = rate / (1 - beta1**number), (1 - beta2**number) ** 0.5
        if self.untouched == "lazy":
            return AdamStep(keep, size * root, 1.0)
        return AdamStep(keep, size, 1 / root)

    def _deferred(self, table_VD: Tensor, group: dict[str, Any]) -> DeferredRows:
        """What is put off of a table, made at its first step."""
        found, settings = self.deferred.get(table_VD), self._settings(group)
        decays = group["weight_decay"] != 0
        if found is not None and (found.settings, found.decays) != (settings, decays):
            found.catch_up(None)
            found = None
        if found is None:
            state = self._state(table_VD)
            now = int(state["step"])
            found = DeferredRows(_tables(table_VD, state), now, settings, decays)
            self.deferred[table_VD] = found
            reads = row_reads(table_VD)
            if reads is not None:
                reads.before = found.catch_up
        return found

    def _settings(self, group: dict[str, Any]) -> AdamSettings:
        l2 = 0.0 if self.decoupled else group["weight_decay"]
        beta1, beta2 = group["betas"]
        return AdamSettings(beta1, beta2, group["eps"], l2)

    def state_dict(self) -> dict[str, Any]:
        """As ``torch.optim.Adam``'s, all rows up to date, those of the parameters too."""
        for late in self.deferred.values():
            late.catch_up(None)
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; what was put off until now is left out."""
        super().load_state_dict(state_dict)
        self.deferred.clear()
        for table in self.tables:
            reads = row_reads(table)
            if reads is not None:
                reads.before = None


class SparseAdamW(SparseAdam):
    """AdamW (Loshchilov & Hutter 2019) on tables with sparse gradients, always "deferred".

    Equal to ``torch.optim.AdamW`` within rounding, schedules included, its state dict too.

    Args:
        params: parameters, or groups of them.
        lr: the rate.
        betas: how fast the moments fade; (0.9, 0.999).
        eps: added to the root.
        weight_decay: theta *= 1 - lr weight_decay, of all rows at every step.
        fused: see ``torch.optim.AdamW``; of dense gradients.

    Raises:
        ValueError: eps is 0.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 0.001,
        betas: list[DropProbability] | None = None,
        eps: NonNegativeFloat = 1e-8,
        weight_decay: NonNegativeFloat = 0.01,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=fused)


def _tables(table_VD: Tensor, state: dict[str, Any]) -> AdamTables:
    return AdamTables(table_VD.detach(), state["exp_avg"], state["exp_avg_sq"])


def _require(group: dict[str, Any], untouched: str) -> None:
    if untouched == "deferred" and group["eps"] == 0:
        raise ValueError(
            "eps is 0; allowed: a number greater than 0, as a row without any gradient so far is "
            "divided by it"
        )
    if untouched == "lazy" and group["weight_decay"]:
        raise ValueError(
            f"weight_decay is {group['weight_decay']}, but with untouched=lazy rows decay by how "
            "often they are read; weight_decay=0, or untouched=deferred"
        )
