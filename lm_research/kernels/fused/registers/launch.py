"""How a scan with U in registers is launched."""

from torch import Tensor

from lm_research.kernels.fused import launch
from lm_research.kernels.walk import Walk


def options_of(block: int) -> dict[str, int]:
    """A warp for 8 columns of every gate, at most 16 warps; no registers left for more programs."""
    warps = min(block // 8, 16)
    return {"num_warps": warps, "num_stages": 1, "maxnreg": min(65_536 // (32 * warps), 255)}


class Launch(launch.Launch):
    """As in plain Triton, with fewer masks and constants, and warps of its own."""

    def __init__(self, gates_BTG: Tensor, weight_GD: Tensor, gates: int, walk: Walk) -> None:
        super().__init__(gates_BTG, weight_GD, gates, walk)
        block = launch.block_of(self.head_size)
        self.constants = {"BLOCK_D": block}
        self.options = options_of(block)

    def masks(self) -> tuple[Tensor | None, ...]:
        """Lengths and resets."""
        return self.walk.lengths_B, self.walk.reset_BT
