"""KerasAdam against its formula in numpy, and against torch's Adam."""

import copy

import numpy as np
import pytest
import torch

from lm_research.tasks.keras_adam import KerasAdam


def gradients(count: int, seed: int = 0) -> list[np.ndarray]:
    """Gradients of very different size, where epsilon matters and where it does not."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-9, 2, (3, 4)) for _ in range(count)]


def transcription(
    start: np.ndarray, gradients: list[np.ndarray], lr: float, b1: float, b2: float, eps: float
) -> np.ndarray:
    """Kingma & Ba 2015, algorithm 1 in the order of the remark that follows it."""
    theta, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        theta = theta - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    return theta


def run(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, given: list) -> np.ndarray:
    for gradient in given:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    return parameter.detach().numpy().copy()


def new_parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4))


@pytest.mark.parametrize(
    ("lr", "b1", "b2", "eps"), [(0.001, 0.9, 0.999, 1e-7), (0.1, 0.5, 0.9, 1e-3), (1, 0, 0.9, 1e-9)]
)
def test_the_formula_in_numpy(lr: float, b1: float, b2: float, eps: float) -> None:
    given, parameter = gradients(50), new_parameter()
    optimizer = KerasAdam([parameter], lr=lr, betas=[b1, b2], eps=eps)
    expected = transcription(new_parameter().detach().numpy(), given, lr, b1, b2, eps)
    assert run(optimizer, parameter, given) == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_torchs_form_is_another_one() -> None:
    given, ours, theirs = gradients(3), new_parameter(), new_parameter()
    one = run(KerasAdam([ours]), ours, given)
    other = run(torch.optim.Adam([theirs], eps=1e-7), theirs, given)
    assert abs(one - other).max() > 1e-5
    # They meet where gradients are large beside epsilon.
    large = [g + np.sign(g) for g in given]
    ours, theirs = new_parameter(), new_parameter()
    one = run(KerasAdam([ours]), ours, large)
    other = run(torch.optim.Adam([theirs], eps=1e-7), theirs, large)
    assert one == pytest.approx(other, abs=1e-8)


def test_the_defaults_are_keras_own() -> None:
    (group,) = KerasAdam([new_parameter()]).param_groups
    assert (group["lr"], group["betas"], group["epsilon_hat"]) == (0.001, (0.9, 0.999), 1e-7)


def test_continuing_from_its_state_is_exact() -> None:
    given, whole, parameter = gradients(10), new_parameter(), new_parameter()
    expected = run(KerasAdam([whole]), whole, given)
    first = KerasAdam([parameter])
    run(first, parameter, given[:4])
    second = KerasAdam([parameter])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert np.array_equal(run(second, parameter, given[4:]), expected)


def test_groups_and_closures_are_served() -> None:
    one, two = new_parameter(), new_parameter()
    groups = [{"params": [one]}, {"params": [two], "lr": 0.01, "betas": (0.5, 0.9)}]
    optimizer = KerasAdam(groups)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (one**2).sum() + (two**2).sum()
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    theta = expected = new_parameter().detach().numpy()
    given: list[np.ndarray] = []
    for _ in range(3):  # the second group alone, whose gradient is 2 theta
        given.append(2 * expected)
        expected = transcription(theta, given, 0.01, 0.5, 0.9, 1e-7)
    assert two.detach().numpy() == pytest.approx(expected, rel=1e-12)
