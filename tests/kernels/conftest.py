"""Kernels run on a GPU where there is one, else in Triton's interpreter."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}
"""Largest relative error, in the norm of the whole tensor, against float64."""


@pytest.fixture(autouse=True)
def _poison():
    """Memory that is not written to holds NaN, so that an output forgotten is an output seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def whole_graph():
    """Compiles without a graph break, past what other tests compiled: Dynamo counts all layers."""
    torch._dynamo.reset()
    return lambda layer: torch.compile(layer, backend="aot_eager", fullgraph=True)


@pytest.fixture
def device():
    return DEVICE


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|, 0/0 counted as 0."""
    expected = expected.to(found.device).double()
    size = expected.norm().item()
    difference = (found.double() - expected).norm().item()
    return difference / size if size else difference


@pytest.fixture
def agree():
    """Asserts that every tensor is within its type's tolerance of its float64 counterpart."""

    def check(found, expected, names, dtype):
        for name, a, b in zip(names, found, expected, strict=True):
            assert a.shape == b.shape, name
            error = relative_error(a.detach(), b.detach())
            assert error <= TOLERANCE[dtype], f"{name}: {error:.1e}"  # NaN fails, too

    return check


@pytest.fixture(autouse=True)
def threads_for_little_work(monkeypatch):
    """As tests are: what is shared out among threads is then looked at, too."""
    monkeypatch.setattr("lm_research.kernels.fused.cpu.threads.ALONE", 0)
