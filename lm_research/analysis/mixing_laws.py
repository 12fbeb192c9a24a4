"""Laws from the weights of a mixture to a loss.

Shapes: R mixtures, M sources, P parameters. Weights are float64 and sum to 1 over sources.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

LAWS = ("linear", "quadratic", "exponential", "boosted")
RIDGES = 10.0 ** np.arange(-8, 3)
"""Penalties that leave-one-out chooses from, relative to the mean square of a column."""
BELOW = (0.1, 0.5, 2.0, 8.0)
"""Starts of the exponential law: how far c is below the lowest loss, in ranges of the losses."""


LEAF = 20
"""Mixtures in a leaf of a tree, at least."""


class Law(Protocol):
    """A fitted law: predicted loss_R of weights_RM."""

    def __call__(self, weights_RM: np.ndarray) -> np.ndarray:
        """loss_R at ``weights_RM``, float64."""
        ...


def fit_law(
    law: str, weights_RM: np.ndarray, loss_R: np.ndarray, seed: int = 0, like: Law | None = None
) -> Law:
    """Fit one law by least squares.

    - ``linear``: L = sum_i b_i w_i, ridge (RegMix's linear regression; the b_i are the losses of
      sources alone).
    - ``quadratic``: Scheffé's (1958) polynomial sum_i b_i w_i + sum_{i<j} b_ij w_i w_j, ridge.
    - ``exponential``: L = c + exp(sum_i t_i w_i), Ye et al. (2024, https://arxiv.org/abs/2403.16952)
      with their k in the t_i, which weights that sum to 1 cannot tell apart.
    - ``boosted``: gradient-boosted trees (RegMix, Liu et al. 2024, https://arxiv.org/abs/2407.01492)
      by LightGBM where it is installed, else by scikit-learn.

    Args:
        law: one of :data:`LAWS`.
        seed: of the trees.
        like: a fit to nearly the same runs, to begin from.

    Raises:
        ValueError: an unknown law, or fewer mixtures than :func:`fewest` asks for.
        ImportError: ``boosted`` without either library.
    """
    fits: dict[str, Callable[..., Law]] = {
        "linear": lambda: _ridge(_linear, weights_RM, loss_R),
        "quadratic": lambda: _ridge(_quadratic, weights_RM, loss_R),
        "exponential": lambda: Exponential.fit(weights_RM, loss_R, like),
        "boosted": lambda: _boosted(weights_RM, loss_R, seed),
    }
    if law not in fits:
        raise ValueError(f"law={law}: allowed are {', '.join(LAWS)}")
    needed = fewest(law, weights_RM.shape[1])
    if len(loss_R) < needed:
        raise ValueError(f"law={law}: {len(loss_R)} mixtures; it needs at least {needed}")
    return fits[law]()


def fewest(law: str, sources: int) -> int:
    """Mixtures that a law needs: as many as parameters, where ridge does not hold them."""
    return {"exponential": sources + 2, "boosted": 20}.get(law, 3)


def _linear(weights_RM: np.ndarray) -> np.ndarray:
    return weights_RM


def _quadratic(weights_RM: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(weights_RM.shape[1], 1)
    return np.concatenate([weights_RM, weights_RM[:, first] * weights_RM[:, second]], axis=1)


def _ridge(
    features: Callable[[np.ndarray], np.ndarray], weights_RM: np.ndarray, loss_R: np.ndarray
) -> Law:
    """Around the mean loss, the penalty of least leave-one-out error (in closed form, by PRESS)."""
    x_RP, centre = features(weights_RM), float(loss_R.mean())
    scale_P = np.sqrt((x_RP**2).mean(0))
    scale_P[scale_P == 0] = 1.0  # a source that no mixture has
    u_RK, s_K, v_KP = np.linalg.svd(x_RP / scale_P, full_matrices=False)
    y_R = loss_R - centre

    def press(ridge: float) -> float:
        shrink_K = s_K**2 / (s_K**2 + ridge * len(y_R))
        fitted_R = u_RK @ (shrink_K * (u_RK.T @ y_R))
        leverage_R = np.minimum((u_RK**2 * shrink_K).sum(1), 1 - 1e-9)
        return float((((y_R - fitted_R) / (1 - leverage_R)) ** 2).sum())

    ridge = min(RIDGES, key=press)
    slopes_K = s_K / (s_K**2 + ridge * len(y_R)) * (u_RK.T @ y_R)
    slopes_P = (v_KP.T @ slopes_K) / scale_P
    return lambda w_RM: np.asarray(centre + features(w_RM) @ slopes_P)


class Exponential:
    """L = c + exp(w . t); of falling and rising sources, t_i below and above."""

    def __init__(self, c: float, t_M: np.ndarray) -> None:
        self.c, self.t_M = c, t_M

    def __call__(self, weights_RM: np.ndarray) -> np.ndarray:
        """loss_R."""
        return np.asarray(self.c + np.exp(weights_RM @ self.t_M))

    @classmethod
    def fit(
        cls, weights_RM: np.ndarray, loss_R: np.ndarray, like: Law | None = None
    ) -> "Exponential":
        """Least squares with a light pull of the t_i to their mean, from several starts of c."""
        from scipy.optimize import least_squares

        lowest, spread = float(loss_R.min()), max(float(np.ptp(loss_R)), 1e-9)
        pull = 1e-3 * spread

        def parts(theta_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with np.errstate(over="ignore"):
                rest_R = np.exp(np.minimum(weights_RM @ theta_P[1:], 50.0))
            return rest_R, theta_P[1:] - theta_P[1:].mean()

        def error(theta_P: np.ndarray) -> np.ndarray:
            rest_R, away_M = parts(theta_P)
            return np.concatenate([theta_P[0] + rest_R - loss_R, pull * away_M])

        def slope(theta_P: np.ndarray) -> np.ndarray:
            rest_R, away_M = parts(theta_P)
            size = len(away_M)
            law_RP = np.column_stack([np.ones_like(rest_R), rest_R[:, None] * weights_RM])
            pull_MP = pull * np.column_stack([np.zeros(size), np.eye(size) - 1 / size])
            return np.concatenate([law_RP, pull_MP])

        starts = [np.array([like.c, *like.t_M])] if isinstance(like, Exponential) else []
        for below in () if starts else BELOW:
            c = lowest - below * spread
            t_M = np.linalg.lstsq(weights_RM, np.log(loss_R - c), rcond=None)[0]
            starts.append(np.array([c, *t_M]))
        ends = [least_squares(error, start, jac=slope, method="lm") for start in starts]
        best = min(ends, key=lambda end: float(end.cost))
        return cls(float(best.x[0]), best.x[1:])


def _boosted(weights_RM: np.ndarray, loss_R: np.ndarray, seed: int) -> Law:
    """RegMix's settings: trees of little depth, many rounds at a low rate."""
    try:
        from lightgbm import LGBMRegressor

        model = LGBMRegressor(
            n_estimators=1000, learning_rate=0.01, random_state=seed, n_jobs=1, verbose=-1
        )
    except ImportError:
        model = _of_scikit_learn(seed)
    model.fit(weights_RM, loss_R)
    return lambda w_RM: np.asarray(model.predict(w_RM), dtype=float)


def _of_scikit_learn(seed: int):  # type: ignore[no-untyped-def] # a library that may be absent
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        raise ImportError(
            "law=boosted needs LightGBM or scikit-learn: pip install scikit-learn, or "
            "law=quadratic, which needs neither"
        ) from None
    # LightGBM's own leaves and rates, as RegMix has them.
    return HistGradientBoostingRegressor(
        max_iter=1000, learning_rate=0.01, min_samples_leaf=LEAF, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
