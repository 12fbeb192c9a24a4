"""GloVe: vectors from co-occurrence counts, trained here or loaded from a file.

Shapes: B batch, T time, N tokens of a document, V vocabulary, D vector size.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lm_research.config.types import PositiveFloat, PositiveInt, Probability
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.compiled import FIX, has_numba
from lm_research.vectorizers.document_bags import averaged
from lm_research.vectorizers.fitted import Fitted
from lm_research.vectorizers.tables import row_table
from lm_research.vectorizers.unknown_words import Unknown, fill
from lm_research.vectorizers.window import look_up
from lm_research.vectorizers.word_vectors import read_word_vectors

Solver = Literal["auto", "numba", "numpy", "torch"]

_SPACE_SIGNS = "\N{OPEN BOX}\N{LOWER ONE EIGHTH BLOCK}"


class GloVe(Fitted):
    """x_t = row x_t of ``weight`` (V x D): w + w~ of Pennington, Socher and Manning (2014).

    Without ``path``, :meth:`fit` trains the vectors on the training documents (see
    ``glove_training.py`` for the objective). With it, they come from a text file of word vectors
    by :meth:`load_vectors`, and fitting does nothing. Rows that neither yields are made up
    (``unknown``); ``coverage`` is the share of the vocabulary that has a row of its own. A saved
    state needs no file.

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
            "zero"; "mean" of the known ones; "subword", of those that share character n-grams
            (of a file; "mean" where the vectors are trained). See ``unknown_words.py``.
    """

    coverage: Tensor

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
        unknown: Literal["random", "zero", "mean", "subword"] = "random",
    ) -> None:
        super().__init__(vocabulary_size)
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        check_setting("dim", dim, PositiveInt)
        check_setting("window", window, PositiveInt)
        check_setting("x_max", x_max, PositiveFloat)
        check_setting("alpha", alpha, Probability)
        check_setting("epochs", epochs, PositiveInt)
        if learning_rate is not None:
            check_setting("learning_rate", learning_rate, PositiveFloat)
        check_setting("batch_size", batch_size, PositiveInt)
        check_setting("memory_gib", memory_gib, PositiveFloat)
        check_choice("unknown", unknown, Unknown)
        self.solver, self.unknown = _solver(solver), unknown
        self.dim = dim
        self.path = path
        self.needs_fit = path is None
        self.window = window
        self.x_max, self.alpha = x_max, alpha
        self.learning_rate = learning_rate or (0.05 if self.solver == "numba" else 0.1)
        self.epochs, self.batch_size = epochs, batch_size
        self.seed, self.memory = seed, memory_gib * (1 << 30)
        self.objectives: list[float] = []
        self.broken = 0
        self.weight = row_table(torch.zeros(vocabulary_size, dim)).requires_grad_(trainable)
        self.register_buffer("coverage", torch.tensor(0.0))
        self.declare_fitted()

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
        self._set(torch.from_numpy(weight_VD), torch.from_numpy(np.diff(counts_VV.indptr) > 0))

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

    def load_vectors(self, tokens: Sequence[str]) -> None:
        """Take the vectors of ``path``.

        Args:
            tokens: the V token strings by id. Spaces around them, or the signs that printable
                token names show for spaces, are no part of a word; a token that the file does
                not hold is looked for in lower case.

        Raises:
            ValueError: no ``path``; not V tokens; a broken file (see ``read_word_vectors``); or
                a file that holds none of the tokens.
        """
        if self.path is None:
            raise ValueError("path is None: set it to a file of word vectors, or call fit")
        if len(tokens) != self.vocabulary_size:
            raise ValueError(f"got {len(tokens)} tokens for a vocabulary of {self.vocabulary_size}")
        ids_of = _ids_of_spellings(tokens)
        vectors, self.broken = read_word_vectors(self.path, ids_of.keys(), self.dim)
        if self.broken:
            warnings.warn(
                f"{self.path}: left out {self.broken} words that are not UTF-8", stacklevel=2
            )
        if not vectors:
            raise ValueError(
                f"{self.path} holds none of the {len(tokens)} tokens: word vectors need a "
                "tokenizer whose tokens are words (of the file's language)"
            )
        weight_VD, known_V = torch.zeros(self.weight.shape), torch.zeros(len(tokens)).bool()
        # Exact spellings come last, to win over the lower-case ones.
        for rank in (1, 0):
            for spelling, vector_D in vectors.items():
                for id in ids_of[spelling][rank]:
                    weight_VD[id] = torch.from_numpy(vector_D)
                    known_V[id] = True
        self._set(weight_VD, known_V, tokens)

    @torch.no_grad()
    def _set(self, weight_VD: Tensor, known_V: Tensor, tokens: Sequence[str] | None = None) -> None:
        self.weight.copy_(fill(weight_VD, known_V, self.unknown, self.seed, tokens))
        self.coverage.fill_(known_V.float().mean().item())
        self.fitted.fill_(True)

    def report(self) -> dict[str, Any]:
        """The vocabulary's coverage and what was done about the rest; how training went."""
        found: dict[str, Any] = {"coverage": self.coverage.item(), "unknown": self.unknown}
        if self.path is not None:
            return {**found, "path": self.path, "words_not_utf8": self.broken}
        ends = self.objectives[:1] + self.objectives[-1:]
        return {**found, "solver": self.solver, "objective_first_and_last": ends}

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTD, zero where there is no token. Raises ``RuntimeError`` before fitting."""
        fix = "fit(documents)" if self.path is None else "load_vectors(tokens)"
        self.require_fitted(f"call {fix}, or load its state")
        return look_up(ids_BT, self.weight)

    def document(self, ids_N: Tensor) -> Tensor:
        """x_D, the mean of the tokens' rows; zero for an empty document."""
        return self(ids_N[None])[0].sum(0) / (ids_N >= 0).sum().clamp(min=1)

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BD, the mean of each document's rows."""
        return averaged(documents, self.weight)

    def output_weight(self) -> Tensor:
        """``weight`` itself, V x D."""
        return self.weight


def _solver(asked: Solver) -> Solver:
    """What "auto" stands for here. Raises ``ValueError`` for what is not installed."""
    check_choice("solver", asked, Solver)
    if asked == "numba" and not has_numba():
        raise ValueError(f"solver is 'numba', which is not installed: {FIX}, or solver=auto")
    if asked == "auto":
        return "numba" if has_numba() else "numpy"
    return asked


def _ids_of_spellings(tokens: Sequence[str]) -> dict[str, tuple[list[int], list[int]]]:
    """Each spelling to look for -> the ids of which it is exact, and is the lower-case one."""
    ids_of: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for id, token in enumerate(tokens):
        word = token.strip().strip(_SPACE_SIGNS)
        if word:
            ids_of[word][0].append(id)
            if word.lower() != word:
                ids_of[word.lower()][1].append(id)
    return dict(ids_of)
