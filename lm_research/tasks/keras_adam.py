"""Adam as Keras and TensorFlow compute it."""

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Adam

from lm_research.config.types import DropProbability, NonNegativeFloat, PositiveFloat


class KerasAdam(Adam):
    """Adam in the form of Kingma & Ba 2015, the remark at the end of section 2.

    Keras adds epsilon before the bias correction of the second moment ("epsilon hat"), PyTorch
    after it: theta -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps). Both agree when
    PyTorch's eps is eps / sqrt(1 - b2^t), which is set before each step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 0.001,
        betas: list[DropProbability] | None = None,
        eps: NonNegativeFloat = 1e-7,
        fused: bool | None = None,
    ) -> None:
        first, second = betas or (0.9, 0.999)
        # As floats: torch refuses the 0 of a configuration.
        super().__init__(params, lr=lr, betas=(float(first), float(second)), eps=eps, fused=fused)
        for group in self.param_groups:
            group["epsilon_hat"], group["updates"] = eps, 0

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters."""
        for group in self.param_groups:
            group["updates"] += 1
            group["eps"] = group["epsilon_hat"] / (1 - group["betas"][1] ** group["updates"]) ** 0.5
        return super().step(closure)
