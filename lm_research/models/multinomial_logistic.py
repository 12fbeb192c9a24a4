"""Multinomial logistic regression over sparse rows of features.

    p(c | x) = softmax_c(W x + b)
    min_{W, b}  1/2 |W|^2 + C sum_i -ln p(y_i | x_i)

The objective is scikit-learn's: the bias is free. It is solved by L-BFGS (Liu and Nocedal 1989).

Shapes: N texts, V features, K classes.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax

from lm_research.config.types import PositiveFloat

GRADIENT = 1e-7
"""Largest component of the mean objective's gradient at which it counts as solved."""
STEPS = 2_000


class MultinomialLogistic:
    """One row of weights a class.

    Args:
        penalty: C; smaller ones hold the weights nearer to zero.
        gain: share of the objective that a step of the solver must gain, or it is solved.

    Attributes:
        w_KV, b_K: float64, once :meth:`fit` has found them.
    """

    def __init__(self, penalty: PositiveFloat = 1.0, gain: PositiveFloat = 1e-12) -> None:
        self.penalty, self.gain = penalty, gain
        self.w_KV, self.b_K = np.empty((0, 0)), np.empty(0)

    def fit(
        self,
        x_NV: csr_array,
        labels_N: np.ndarray,
        start: "MultinomialLogistic | None" = None,
    ) -> None:
        """Learn from texts.

        Args:
            labels_N: int64, 0 to K - 1.
            start: of the same shapes, whose weights to start from; None: from zero.
        """
        classes, size = int(labels_N.max()) + 1, x_NV.shape[1]
        begin = np.zeros(classes * (size + 1))
        if start is not None:
            begin = np.append(start.w_KV.ravel(), start.b_K)
        options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": GRADIENT, "ftol": self.gain}
        objective = _Objective(x_NV, labels_N, classes, self.penalty)
        found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
        self.w_KV, self.b_K = objective.parted(found.x)

    def log_probabilities(self, x_NV: csr_array) -> np.ndarray:
        """log_p_NK (nats, float64)."""
        return np.asarray(log_softmax(x_NV @ self.w_KV.T + self.b_K, axis=1))


class _Objective:
    """The objective divided by C N, and its gradient, of all weights in one vector."""

    def __init__(self, x_NV: csr_array, labels_N: np.ndarray, classes: int, penalty: float) -> None:
        self.x_NV, self.transposed_VN = x_NV, x_NV.T.tocsr()
        self.labels_N, self.classes = labels_N, classes
        self.decay = 1 / (penalty * len(labels_N))

    def parted(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """w_KV and b_K."""
        return theta[: -self.classes].reshape(self.classes, -1), theta[-self.classes :]

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        w_KV, b_K = self.parted(theta)
        log_p_NK = log_softmax(self.x_NV @ w_KV.T + b_K, axis=1)
        rows_N = np.arange(len(self.labels_N))
        value = 0.5 * self.decay * np.vdot(w_KV, w_KV) - log_p_NK[rows_N, self.labels_N].mean()
        error_NK = np.exp(log_p_NK)
        error_NK[rows_N, self.labels_N] -= 1
        error_NK /= len(rows_N)
        slope_KV = (self.transposed_VN @ error_NK).T + self.decay * w_KV
        return float(value), np.append(slope_KV.ravel(), error_NK.sum(0))
