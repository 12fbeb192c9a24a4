"""word2vec: vectors that tell a token's neighbours from other tokens, trained here or loaded.

Shapes: V vocabulary, D vector size.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch

from lm_research.config.types import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.compiled import available
from lm_research.vectorizers.pretrained import Pretrained

Solver = Literal["auto", "numba", "numpy"]
Architecture = Literal["skip_gram", "cbow"]


class Word2Vec(Pretrained):
    """x_t = row x_t of ``weight`` (V x D): the input vectors w of Mikolov et al. (2013).

    Without ``path``, :meth:`fit` trains the vectors on the training documents (see
    ``word2vec_training.py`` for the objective); with it, they are loaded (see ``pretrained.py``).

    CBOW divides the gradient among a token's neighbours as the mean does, which the published
    program does not (Irsoy et al. 2021, arXiv:2012.15332): so its rate is a higher one.

    Args:
        vocabulary_size: V.
        dim: D; a file must have this width.
        path: file of word vectors, or None.
        trainable: whether the model's training moves the vectors ("non-static") or not.
        architecture: "skip_gram", a token against each neighbour; "cbow", the mean of the
            neighbours against the token.
        window: farthest neighbour, to either side; each token draws its own reach, 1 to this.
        negatives: tokens drawn for each (h, o); one that is o itself is passed over.
        noise_power: exponent of the frequencies by which they are drawn; 0: all tokens that occur
            alike.
        subsample: share of the text above which a token is thinned out (see
            ``word2vec_text.kept_shares``) before neighbours are looked for; 0: none. Meant for
            words: nearly every byte or character is more frequent.
        epochs: passes over the text.
        learning_rate: of SGD, in the beginning; falls linearly. None: 0.025 for skip-gram, 0.1
            for CBOW.
        seed: of the start and of all that is drawn.
        solver: "numba", on all threads (``word2vec_blocks.py``); "numpy", in batches on one
            thread; "auto": numba if it is installed, else numpy. Each repeats its bits by seed, on
            one kind of machine, whatever the number of threads; they differ from each other.
        memory_gib: text beyond it (4 bytes a token) is kept on the disk. The tables and the pairs
            of a chunk (about 64 MiB, twice) come on top.
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
        architecture: Literal["skip_gram", "cbow"] = "skip_gram",
        window: PositiveInt = 5,
        negatives: PositiveInt = 5,
        noise_power: Probability = 0.75,
        subsample: NonNegativeFloat = 1e-3,
        epochs: PositiveInt = 5,
        learning_rate: PositiveFloat | None = None,
        seed: int = 0,
        solver: Literal["auto", "numba", "numpy"] = "auto",
        memory_gib: PositiveFloat = 4.0,
        unknown: Literal["random", "uniform", "zero", "mean", "subword"] = "random",
    ) -> None:
        super().__init__(vocabulary_size, dim, path, trainable, seed, unknown)
        check_choice("architecture", architecture, Architecture)
        check_setting("window", window, PositiveInt)
        check_setting("negatives", negatives, PositiveInt)
        check_setting("noise_power", noise_power, Probability)
        check_setting("subsample", subsample, NonNegativeFloat)
        check_setting("epochs", epochs, PositiveInt)
        if learning_rate is not None:
            check_setting("learning_rate", learning_rate, PositiveFloat)
        check_setting("memory_gib", memory_gib, PositiveFloat)
        self.solver = available(solver, Solver)
        self.cbow, self.window, self.negatives = architecture == "cbow", window, negatives
        self.noise_power, self.subsample, self.epochs = noise_power, subsample, epochs
        self.learning_rate = learning_rate or (0.1 if self.cbow else 0.025)
        self.memory = memory_gib * (1 << 30)

    def fit(self, documents: Iterable[np.ndarray]) -> None:
        """Train on the documents; ``objectives`` keeps the mean objective of each epoch.

        It is that of each step before it is taken, so that a rate which falls may let it rise.
        Does nothing when ``path`` is set: :meth:`load_vectors` is called for then. Raises
        ``ValueError`` when there is no document of two tokens or more.
        """
        if self.path is not None:
            return
        from lm_research.vectorizers.word2vec_text import gathered
        from lm_research.vectorizers.word2vec_training import Settings

        tokens = gathered(documents, self.vocabulary_size, self.memory)
        if len(tokens.ids_N) == 0:
            raise ValueError("Word2Vec.fit found no training document of two tokens or more")
        settings = Settings(
            window=self.window,
            negatives=self.negatives,
            noise_power=self.noise_power,
            subsample=self.subsample,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        if self.solver == "numba":
            from lm_research.vectorizers.word2vec_blocks import train_blocks

            threads = torch.get_num_threads()
            trained = train_blocks(tokens, self.dim, settings, self.cbow, threads)
        else:
            from lm_research.vectorizers.word2vec_batches import train_batches

            trained = train_batches(tokens, self.dim, settings, self.cbow)
        weight_VD, self.objectives = trained
        self.take_rows(torch.from_numpy(weight_VD), torch.from_numpy(tokens.counts_V > 0))
