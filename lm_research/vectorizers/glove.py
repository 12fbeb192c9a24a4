"""GloVe: vectors from co-occurrence counts, trained here or loaded from a file.

Shapes: B batch, T time, N tokens of a document, V vocabulary, D vector size.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch

from lm_research.config.types import PositiveFloat, PositiveInt, Probability
from lm_research.vectorizers.checks import check_setting
from lm_research.vectorizers.compiled import available
from lm_research.vectorizers.pretrained import Pretrained

Solver = Literal["auto", "numba", "numpy", "torch"]


class GloVe(Pretrained):
    """x_t = row x_t of ``weight`` (V x D): w + w~ of Pennington, Socher and Manning (2014).

    Without ``path``, :meth:`fit` trains the vectors on the training documents (see
    ``glove_training.py`` for the objective); with it, they are loaded (see ``pretrained.py``).

    Args:
        vocabulary_size: V.
        dim: D; a file must have this width.
        path: file of word vectors, or None.
        trainable: whether the model's training moves the vectors ("non-static") or not.
        window: farthest neighbour counted, in tokens to either side; weighs 1 / distance.
        x_max: co-occurrences from which on a pair has its full weight.
        alpha: exponent of the weight (x / x_max)^alpha below that.
        epochs: passes over the non-zero co-occurrences.
        learning_rate: AdaGrad's; None: 0.05 for one pair at a time, 0.1 in batches, where rows
            move more rarely and may move farther.
        batch_size: most pairs in a step of AdaGrad in batches (an epoch has at least 64 steps).
        seed: of the start, the order of pairs, and the rows drawn.
        solver: "numba", a pair at a time on all threads (``glove_blocks.py``); "numpy", batches on
            one thread; "torch", the same batches on a GPU if there is one; "auto": numba if it is
            installed, else numpy. Each repeats its bits by seed, on one kind of machine, whatever
            the number of threads; they differ from each other.
        memory_gib: counts beyond it are kept on the disk while they are added up and, with numba,
            trained on. The tables and the counts of one part of the text come on top.
        unknown: rows of tokens without a vector: "random", drawn like the known ones' numbers;
            "uniform", U(-0.25, 0.25) (Kim 2014); "zero"; "mean" of the known ones; "subword", of
            those that share character n-grams (of a file; "mean" where the vectors are trained).
            See ``unknown_words.py``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: PositiveInt,
        path: str | None = None,
        trainable: bool = True,
        window: PositiveInt = 10,
        x_max: PositiveFloat = 100.0,
        alpha: Probability = 0.75,
        epochs: PositiveInt = 10,
        learning_rate: PositiveFloat | None = None,
        batch_size: PositiveInt = 16_384,
        seed: int = 0,
        solver: Literal["auto", "numba", "numpy", "torch"] = "auto",
        memory_gib: PositiveFloat = 4.0,
        unknown: Literal["random", "uniform", "zero", "mean", "subword"] = "random",
    ) -> None:
        super().__init__(vocabulary_size, dim, path, trainable, seed, unknown)
        check_setting("window", window, PositiveInt)
        check_setting("x_max", x_max, PositiveFloat)
        check_setting("alpha", alpha, Probability)
        check_setting("epochs", epochs, PositiveInt)
        if learning_rate is not None:
            check_setting("learning_rate", learning_rate, PositiveFloat)
        check_setting("batch_size", batch_size, PositiveInt)
        check_setting("memory_gib", memory_gib, PositiveFloat)
        self.solver = available(solver, Solver)
        self.window, self.x_max, self.alpha = window, x_max, alpha
        self.learning_rate = learning_rate or (0.05 if self.solver == "numba" else 0.1)
        self.epochs, self.batch_size = epochs, batch_size
        self.memory = memory_gib * (1 << 30)

    def fit(self, documents: Iterable[np.ndarray]) -> None:
        """Train on the documents; ``objectives`` keeps the mean objective of each epoch.

        Does nothing when ``path`` is set: :meth:`load_vectors` is called for then. Raises
        ``ValueError`` when no two tokens occur together.
        """
        if self.path is not None:
            return
        from lm_research.vectorizers.cooccurrence import cooccurrences

        counts_VV = cooccurrences(documents, self.vocabulary_size, self.window, memory=self.memory)
        if counts_VV.nnz == 0:
            raise ValueError("GloVe.fit found no training document of two tokens or more")
        weight_VD, self.objectives = self._train(
            counts_VV,
            self.dim,
            x_max=self.x_max,
            alpha=self.alpha,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        self.take_rows(torch.from_numpy(weight_VD), torch.from_numpy(np.diff(counts_VV.indptr) > 0))

    def _train(self, *arguments: Any, **settings: Any) -> tuple[np.ndarray, list[float]]:
        if self.solver == "numba":
            from lm_research.vectorizers.glove_blocks import train_blocks

            threads = torch.get_num_threads()
            return train_blocks(*arguments, threads=threads, memory=self.memory, **settings)
        if self.solver == "torch":
            from lm_research.vectorizers.glove_torch import train_torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
            return train_torch(*arguments, batch_size=self.batch_size, device=device, **settings)
        from lm_research.vectorizers.glove_training import train

        return train(*arguments, batch_size=self.batch_size, **settings)
