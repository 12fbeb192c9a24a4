"""A row for each token, trained on the documents before the model is, or loaded from a file.

Shapes: B batch, T time, N tokens of a document, V vocabulary, D vector size.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lm_research.config.types import PositiveInt
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.document_bags import averaged
from lm_research.vectorizers.fitted import Fitted
from lm_research.vectorizers.tables import row_table
from lm_research.vectorizers.unknown_words import Unknown, fill
from lm_research.vectorizers.window import look_up
from lm_research.vectorizers.word_vectors import read_word_vectors

_SPACE_SIGNS = "\N{OPEN BOX}\N{LOWER ONE EIGHTH BLOCK}"


class Pretrained(Fitted):
    """x_t = row x_t of ``weight`` (V x D).

    Without ``path``, the subclass's :meth:`fit` trains the rows and hands them to
    :meth:`take_rows`. With it, they come from a text file of word vectors by :meth:`load_vectors`,
    and fitting does nothing. Rows that neither yields are made up (``unknown``); ``coverage`` is
    the share of the vocabulary that has a row of its own. A saved state needs no file.

    Args:
        vocabulary_size: V.
        dim: D; a file must have this width.
        path: file of word vectors, or None.
        trainable: whether the model's training moves the vectors ("non-static") or not.
        seed: of the rows drawn.
        unknown: rows of tokens without a vector: "random", drawn like the known ones' numbers;
            "uniform", U(-0.25, 0.25) (Kim 2014); "zero"; "mean" of the known ones; "subword", of
            those that share character n-grams (of a file; "mean" where the vectors are trained).
            See ``unknown_words.py``.
    """

    coverage: Tensor
    solver: str
    """Who trains."""

    def __init__(
        self,
        vocabulary_size: int,
        dim: PositiveInt,
        path: str | None,
        trainable: bool,
        seed: int,
        unknown: Literal["random", "uniform", "zero", "mean", "subword"],
    ) -> None:
        super().__init__(vocabulary_size)
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        check_setting("dim", dim, PositiveInt)
        check_choice("unknown", unknown, Unknown)
        self.dim, self.path, self.needs_fit = dim, path, path is None
        self.seed, self.unknown = seed, unknown
        self.objectives: list[float] = []
        self.broken = 0
        self.weight = row_table(torch.zeros(vocabulary_size, dim)).requires_grad_(trainable)
        self.register_buffer("coverage", torch.tensor(0.0))
        self.declare_fitted()

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
        self.take_rows(weight_VD, known_V, tokens)

    @torch.no_grad()
    def take_rows(
        self, weight_VD: Tensor, known_V: Tensor, tokens: Sequence[str] | None = None
    ) -> None:
        """Keep the known rows (bool, V), and make up the others."""
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
