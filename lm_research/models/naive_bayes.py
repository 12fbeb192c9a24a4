"""Linear classifiers of two classes over counts or presences: multinomial naive Bayes and NBSVM.

With the count vectors f_i of texts i and labels y_i in {-1, 1} (Wang and Manning 2012, "Baselines
and Bigrams", https://aclanthology.org/P12-2018, section 2):

    p = a + sum_{y_i = 1} f_i,  q = a + sum_{y_i = -1} f_i
    r = log((p / |p|_1) / (q / |q|_1))
    naive Bayes:  w = r,  b = log(N_+ / N_-),  x = f
    SVM:          min_{w,b} 1/2 (|w|^2 + b^2) + C sum_i max(0, 1 - y_i (w . x_i + b))^2
    NBSVM:        the SVM on x = r * f, then w' = (1 - beta) |w|_1 / |V| + beta w

and the class is the sign of w . x + b. Shapes: N texts, V features; matrices are sparse rows.
"""

from abc import ABC, abstractmethod

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array

from lm_research.config.types import NonNegativeFloat, PositiveFloat, Probability

STEP = 1e-5
"""Mean change of a weight at which the SVM counts as solved."""


class LinearClassifier(ABC):
    """Two classes, told apart by the sign of w . x + b."""

    def fit(self, counts_NV: csr_array, positive_N: np.ndarray) -> None:
        """Learn from texts; ``positive_N`` is bool.

        Raises:
            ValueError: one of the classes is not there.
        """
        positive_N = np.asarray(positive_N, dtype=bool)
        if positive_N.all() or not positive_N.any():
            raise ValueError(f"{len(positive_N)} texts of one class; both are needed")
        self.w_V, self.b = self._solved(counts_NV, positive_N)

    def decide(self, counts_NV: csr_array) -> np.ndarray:
        """Whether each text is positive, bool_N."""
        return np.asarray(counts_NV @ self.w_V + self.b > 0)

    @abstractmethod
    def _solved(self, counts_NV: csr_array, positive_N: np.ndarray) -> tuple[np.ndarray, float]:
        """w_V, float64, and b."""


class MultinomialNaiveBayes(LinearClassifier):
    """w = r.

    Args:
        smoothing: a, added to each feature's count in each class.
    """

    def __init__(self, smoothing: PositiveFloat = 1.0) -> None:
        self.smoothing = smoothing

    def _solved(self, counts_NV: csr_array, positive_N: np.ndarray) -> tuple[np.ndarray, float]:
        positives = int(positive_N.sum())
        b = float(np.log(positives / (len(positive_N) - positives)))
        return log_count_ratio(counts_NV, positive_N, self.smoothing), b


class SupportVectors(LinearClassifier):
    """An SVM with squared hinge loss; the bias is regularized like a weight, as LIBLINEAR has it.

    Args:
        penalty: C.
    """

    def __init__(self, penalty: PositiveFloat = 0.1) -> None:
        self.penalty = penalty

    def _solved(self, counts_NV: csr_array, positive_N: np.ndarray) -> tuple[np.ndarray, float]:
        return squared_hinge(counts_NV, positive_N, self.penalty)


class NaiveBayesSupportVectors(LinearClassifier):
    """NBSVM.

    Args:
        smoothing: a.
        penalty: C.
        interpolation: beta; 1 is the SVM alone.
    """

    def __init__(
        self,
        smoothing: PositiveFloat = 1.0,
        penalty: PositiveFloat = 1.0,
        interpolation: Probability = 0.25,
    ) -> None:
        self.smoothing, self.penalty, self.interpolation = smoothing, penalty, interpolation

    def _solved(self, counts_NV: csr_array, positive_N: np.ndarray) -> tuple[np.ndarray, float]:
        r_V = log_count_ratio(counts_NV, positive_N, self.smoothing)
        scaled_NV = csr_array(counts_NV @ diags_array(r_V))
        w_V, b = squared_hinge(scaled_NV, positive_N, self.penalty)
        mean = float(np.abs(w_V).mean())
        w_V = (1 - self.interpolation) * mean + self.interpolation * w_V
        return w_V * r_V, b


def log_count_ratio(
    counts_NV: csr_array, positive_N: np.ndarray, smoothing: NonNegativeFloat
) -> np.ndarray:
    """r_V, float64."""
    sums = [smoothing + counts_NV[rows].sum(axis=0) for rows in (positive_N, ~positive_N)]
    p_V, q_V = (np.asarray(values, dtype=float).ravel() for values in sums)
    return np.asarray(np.log(p_V / p_V.sum()) - np.log(q_V / q_V.sum()))


def squared_hinge(
    x_NV: csr_array, positive_N: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """(w_V, b) of the SVM, by Newton's method on the primal problem (Keerthi and DeCoste 2005).

    The loss is smooth and convex; its second derivative, where texts within the margin count, is
    taken times a vector only.
    """
    y_N, transposed = np.where(positive_N, 1.0, -1.0), x_NV.T.tocsr()

    def short(theta: np.ndarray) -> np.ndarray:
        return np.maximum(1 - y_N * (x_NV @ theta[:-1] + theta[-1]), 0)

    def back(values_N: np.ndarray) -> np.ndarray:
        return np.append(transposed @ values_N, values_N.sum())

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        short_N = short(theta)
        value = 0.5 * theta @ theta + penalty * short_N @ short_N
        return float(value), theta - back(2 * penalty * y_N * short_N)

    def curvature(theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        along_N = np.where(short(theta) > 0, x_NV @ v[:-1] + v[-1], 0.0)
        return v + back(2 * penalty * along_N)

    start = np.zeros(x_NV.shape[1] + 1)
    options = {"xtol": STEP, "maxiter": 200}
    found = minimize(
        objective, start, jac=True, hessp=curvature, method="Newton-CG", options=options
    )
    return found.x[:-1], float(found.x[-1])
