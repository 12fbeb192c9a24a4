"""The founding example by our own task, and by bare PyTorch as a tutorial has it."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.bench.founding_model import ours
from lm_research.bench.founding_worker import Shape, Worker
from lm_research.cli.allocator import keep_freed_memory
from lm_research.data.batches import Batch

KEYS = ("vectorizer.weight", "head.weight", "head.bias")
RECURRENT = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Ours(Worker):
    """The task as ``lm-research train`` builds it, without Lightning's loop."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray]) -> None:
        super().__init__(shape, weights)
        keep_freed_memory()
        self.task: Any = ours(shape)
        self.task.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        made = self.task.configure_optimizers()
        self.optimizer, self.schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
        self.batches = [
            Batch(torch.from_numpy(ids[:, :-1]), torch.from_numpy(ids[:, 1:]), fresh=True)
            for ids in self.data
        ]

    def step(self) -> Tensor:
        """As Lightning would call the task's hooks."""
        batch = self.batches[self.number % len(self.batches)]
        self.number += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.shape.dtype == "bfloat16"):
            loss: Tensor = self.task.training_step(batch, self.number)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def loss_of(self, ids: np.ndarray) -> float:
        """By the task's own loss."""
        batch = Batch(torch.from_numpy(ids[:, :-1]), torch.from_numpy(ids[:, 1:]), fresh=True)
        kept, self.task.stream = self.task.stream, None
        with torch.no_grad():
            loss = self.task.training_step(batch, 0)
        self.task.stream = kept
        return float(loss)


class Bare(Worker):
    """Embedding, recurrent layer, linear layer, cross-entropy, Adam; nothing tuned."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray]) -> None:
        super().__init__(shape, weights)
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding)
        layer = RECURRENT[shape.cell]
        self.layers = layer(shape.embedding, shape.hidden, shape.layers, batch_first=True)
        self.linear = nn.Linear(shape.hidden, shape.vocabulary)
        self._load({k: torch.from_numpy(v) for k, v in weights.items()})
        modules = nn.ModuleList([self.embedding, self.layers, self.linear])
        trained = [p for p in modules.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, eps=1e-7)
        self.ids = torch.from_numpy(self.data)

    def _load(self, weights: dict[str, Tensor]) -> None:
        """What our model does not have (a second bias a gate) stays zero."""
        for own, key in zip(
            (self.embedding.weight, self.linear.weight, self.linear.bias), KEYS, strict=True
        ):
            own.data.copy_(weights[key])
        for number in range(self.shape.layers):
            prefix = f"model.layers.{number}."
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                own, given = getattr(self.layers, f"{name}_l{number}"), f"{prefix}{name}_l0"
                own.requires_grad_(given in weights)
                own.data.copy_(weights.get(given, torch.zeros_like(own)))

    def step(self) -> Tensor:
        """As a tutorial writes it."""
        ids_BT = self.ids[self.number % len(self.ids)]
        self.number += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.shape.dtype == "bfloat16"):
            loss = self._loss(ids_BT)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, ids_BT: Tensor) -> Tensor:
        y_BTH, _ = self.layers(self.embedding(ids_BT[:, :-1]))
        targets_BT = ids_BT[:, 1:]
        if self.shape.predict == "last":
            y_BTH, targets_BT = y_BTH[:, -1:], targets_BT[:, -1:]
        logits_BTV = self.linear(y_BTH)
        return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())

    def loss_of(self, ids: np.ndarray) -> float:
        """Without gradients."""
        with torch.no_grad():
            return float(self._loss(torch.from_numpy(ids)))


SIDES = {"ours": Ours, "torch": Bare}
