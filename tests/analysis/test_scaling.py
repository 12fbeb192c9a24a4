import numpy as np
import pytest
from scipy.optimize import differential_evolution
from scipy.special import huber

from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import find_runs
from lm_research.analysis.scaling import fit_scaling, scaling_laws
from lm_research.analysis.settings import find_axes, group_settings

E, A, ALPHA = 1.7, 40.0, 0.35
SIZES = np.repeat([1e4, 3e4, 1e5, 3e5, 1e6], 3)


def losses(noise: float, seed: int = 0) -> np.ndarray:
    exact_N = E + A * SIZES**-ALPHA
    return exact_N * np.exp(np.random.default_rng(seed).normal(0, noise, len(SIZES)))


def test_exact_data_give_back_the_law() -> None:
    found = fit_scaling(SIZES, losses(0.0), resamples=20)
    planted = (E, A, ALPHA)
    fitted = (found.irreducible, found.coefficient, found.exponent)
    assert [e.mean for e in fitted] == pytest.approx(planted, rel=1e-6)
    assert [e.low for e in fitted] == pytest.approx(planted, rel=1e-3)
    assert (found.sizes, found.runs) == (5, 15)
    assert found.curve(np.array([1e7])) == pytest.approx([E + A * 1e7**-ALPHA], rel=1e-6)


def test_the_search_does_not_stop_short() -> None:
    """Against a global search that knows nothing of gradients or starts."""
    log_loss_N, z_N = np.log(losses(0.005, 3)), np.log(SIZES)

    def cost(theta_3: np.ndarray) -> float:
        fitted_N = np.logaddexp(theta_3[0] - theta_3[2] * z_N, theta_3[1])
        return float(huber(1e-3, fitted_N - log_loss_N).sum())

    bounds = [(0.0, 8.0), (-2.0, 1.0), (0.05, 1.0)]
    best = differential_evolution(cost, bounds, rng=0, tol=1e-9, popsize=20)
    found = fit_scaling(SIZES, losses(0.005, 3), resamples=1)
    parts = found.coefficient.mean, found.irreducible.mean
    assert cost(np.array([*np.log(parts), found.exponent.mean])) <= best.fun * (1 + 1e-6)
    assert found.exponent.mean == pytest.approx(best.x[2], abs=1e-3)


@pytest.mark.slow
def test_intervals_hold_the_planted_values_about_as_often_as_they_say() -> None:
    hits = np.zeros(3)
    for seed in range(60):
        found = fit_scaling(SIZES, losses(0.005, seed), resamples=100)
        fitted = (found.irreducible, found.coefficient, found.exponent)
        hits += [e.low <= v <= e.high for e, v in zip(fitted, (E, A, ALPHA), strict=True)]
    assert (hits / 60 >= 0.85).all(), hits / 60


def test_one_outlier_does_not_bend_the_law() -> None:
    loss_N = losses(0.0)
    loss_N[4] *= 1.2
    found = fit_scaling(SIZES, loss_N, resamples=1)
    assert found.exponent.mean == pytest.approx(ALPHA, abs=0.01)


def test_the_band_holds_the_curve_and_repeats_itself() -> None:
    found = fit_scaling(SIZES, losses(0.005), resamples=40)
    low_N, high_N = found.band(np.array([1e4, 1e6]))
    curve_N = found.curve(np.array([1e4, 1e6]))
    assert (low_N <= curve_N).all()
    assert (curve_N <= high_N).all()
    again = fit_scaling(SIZES, losses(0.005), resamples=40)
    assert np.array_equal(found.draws_R3, again.draws_R3)


@pytest.mark.parametrize(
    ("x", "loss", "said"),
    [
        ([1, 2, 3, 3], [4, 3, 2, 2], "3 different sizes"),
        ([1, 2, 3], [1, 2], "as many"),
        ([0, 1, 2, 3], [4, 3, 2, 1], "above 0"),
        ([1, 2, 3, 4], [4, 3, 2, np.inf], "finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, loss, said) -> None:
    with pytest.raises(ValueError, match=said):
        fit_scaling(x, loss)


def test_an_axis_of_sizes_is_found_and_fitted(make_run) -> None:
    for size in (8, 16, 32, 64):
        for seed in (1, 2):
            parameters = 10.0 * size**2
            summary = {
                "val/bits_per_byte": E + A * parameters**-ALPHA,
                "model/parameters": parameters,
            }
            folder = make_run(
                f"{size}-{seed}", seed, summary, config={"model": {"hidden_size": size}}
            )
    runs = find_runs(folder.parent)
    settings = group_settings(runs, find_axes(runs))
    (law,) = scaling_laws(settings, Metric.named("val/bits_per_byte"))
    assert (law.axis, law.quantity, law.fit.runs) == ("model.hidden_size", "parameters", 8)
    assert law.fit.exponent.mean == pytest.approx(ALPHA, rel=1e-4)
    assert scaling_laws(settings, Metric.named("val/accuracy")) == ()
    assert scaling_laws(settings[:3], Metric.named("val/bits_per_byte")) == ()
