"""Recurrent layers over rows of unequal length on a CPU: ours against PyTorch's packing.

    python benchmarks/uneven_rows.py

Forward and backward of 32 rows, 128 inputs, 192 units, lengths from T/2 to T, on one thread, turn
by turn in one process. Outputs, states and gradients of both are compared first. Prints CPU seconds
of packing over ours; writes benchmarks/results/uneven_rows.json.
"""

import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN

LAYERS = {"GRU": (FusedGRU, nn.GRU), "LSTM": (FusedLSTM, nn.LSTM), "RNN": (FusedRNN, nn.RNN)}
ROWS, INPUTS, UNITS, TURNS = 32, 128, 192, 5


def sides(name: str, steps: int) -> tuple[Callable[[], list[Tensor]], Callable[[], list[Tensor]]]:
    """Ours and packing, on equal weights and inputs; each gives outputs, states and gradients."""
    ours, plain = (kind(INPUTS, UNITS, batch_first=True) for kind in LAYERS[name])
    plain.load_state_dict(ours.state_dict())
    lengths = torch.randint(steps // 2, steps + 1, (ROWS,))
    lengths[0] = steps
    inputs = torch.randn(ROWS, steps, INPUTS)

    def by_packing(x: Tensor) -> tuple[Tensor, Tensor]:
        packed, after = plain(pack_padded_sequence(x, lengths, True, enforce_sorted=False))
        return pad_packed_sequence(packed, True)[0], after

    def run(layer: nn.Module, forward: Callable[[Tensor], tuple[Tensor, Tensor]]) -> list[Tensor]:
        x = inputs.clone().requires_grad_()
        layer.zero_grad()
        y, after = forward(x)
        y.square().sum().backward()
        states = after if isinstance(after, tuple) else (after,)
        return [
            y.detach(),
            *(s.detach() for s in states),
            x.grad,
            *(p.grad for p in layer.parameters()),
        ]

    return lambda: run(ours, lambda x: ours(x, lengths=lengths)), lambda: run(plain, by_packing)


def measured(name: str, steps: int) -> float:
    """CPU seconds of packing over ours: the median of the turns."""
    both = sides(name, steps)
    for one, other in zip(*(side() for side in both), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
    ratios = []
    for _ in range(TURNS):
        spent = []
        for side in both:
            before = time.process_time()
            side()
            spent.append(time.process_time() - before)
        ratios.append(spent[1] / spent[0])
    return median(ratios)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found = {name: {steps: measured(name, steps) for steps in (32, 128, 512)} for name in LAYERS}
    for name, by_steps in found.items():
        told = ", ".join(f"{ratio:.1f} at {steps} steps" for steps, ratio in by_steps.items())
        print(f"{name}: packing takes {told} times as long")
    facts = {"machine": platform.machine(), "torch": torch.__version__, "date": str(date.today())}
    file = Path(__file__).parent / "results/uneven_rows.json"
    file.write_text(json.dumps({"packing_over_ours": found, **facts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
