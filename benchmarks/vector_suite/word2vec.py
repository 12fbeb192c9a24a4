"""word2vec: words a CPU second beside gensim (where it is installed), torch and numpy, and what its
vectors know."""

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lm_research.vectorizers.word2vec_batches import train_batches
from lm_research.vectorizers.word2vec_blocks import train_blocks
from lm_research.vectorizers.word2vec_text import gathered, kept_shares, read, spans
from lm_research.vectorizers.word2vec_training import Settings
from vector_suite.quality import answers

ARCHITECTURES = {"skip_gram": 0.025, "cbow": 0.1}
"""And their rates."""
_DIM = 100
_LONGEST = 1000
"""Tokens of a piece of text: gensim cuts off what is longer than 10,000."""


def settings(rate: float, **more: Any) -> Settings:
    common = {"window": 5, "negatives": 5, "noise_power": 0.75, "subsample": 1e-3, "epochs": 5}
    return Settings(**{**common, "learning_rate": rate, "seed": 1, **more})


def speed(
    ids: list[np.ndarray],
    words: int,
    turns: Callable[..., dict[str, Any]],
    pairs: int,
    tokens: int = 200_000,
) -> dict[str, Any]:
    """D = 100, an epoch; setting up is part of ours. Different orders: other vectors."""
    text = np.concatenate(ids)[:tokens]
    pieces = [text[at : at + _LONGEST] for at in range(0, len(text), _LONGEST)]
    found = {}
    for name, rate in ARCHITECTURES.items():
        chosen, cbow = settings(rate, epochs=1), name == "cbow"

        def ours(
            train: Callable[..., Any] = train_blocks,
            chosen: Settings = chosen,
            cbow: bool = cbow,
            **more: Any,
        ) -> Any:
            return train(gathered(pieces, words, 1e12), _DIM, chosen, cbow, **more)

        others = {"numpy": partial(ours, train_batches)}
        if find_spec("gensim") is not None:
            others["gensim"] = with_gensim(pieces, chosen, cbow)
        if not cbow:
            others["torch"] = partial(with_torch, pieces, words, chosen)
        numba = partial(ours, threads=1)
        numba()  # compiles
        for other, run in others.items():
            found[f"{name}_against_{other}"] = turns(numba, run, pairs, len(text), "words")
    return found


def with_gensim(pieces: list[np.ndarray], chosen: Settings, cbow: bool) -> Callable[[], Any]:
    """Its training loop alone: strings, vocabulary and tables are made before the clock starts."""
    from gensim.models import Word2Vec

    sentences = [list(map(str, piece.tolist())) for piece in pieces]
    model = Word2Vec(
        vector_size=_DIM,
        window=chosen.window,
        negative=chosen.negatives,
        sample=chosen.subsample,
        alpha=chosen.learning_rate,
        sg=int(not cbow),
        min_count=1,
        workers=1,
        seed=1,
    )
    model.build_vocab(sentences)
    return partial(model.train, sentences, total_examples=len(sentences), epochs=1)


def with_torch(pieces: list[np.ndarray], words: int, chosen: Settings, batch: int = 1024) -> None:
    """The usual module: two sparse embeddings, SGD, batches of pairs."""
    tokens, noise = gathered(pieces, words, 1e12), torch.Generator().manual_seed(1)
    weights_V = torch.from_numpy(tokens.counts_V**chosen.noise_power)
    main, context = (torch.nn.Embedding(words, _DIM, sparse=True) for _ in range(2))
    optimizer = torch.optim.SGD(
        [*main.parameters(), *context.parameters()], lr=chosen.learning_rate
    )
    kept_V = kept_shares(tokens.counts_V, chosen.subsample)
    for span in spans(len(tokens.ids_N), chosen.window, 1, 1):
        chunk = read(tokens, span, kept_V, chosen.window)
        for first, second in _pairs(chunk, batch):
            drawn = torch.multinomial(
                weights_V, len(first) * chosen.negatives, replacement=True, generator=noise
            )
            targets = torch.cat([second[:, None], drawn.view(len(first), -1)], 1)
            sign = torch.ones(targets.shape[1]).mul(-1).index_fill(0, torch.tensor([0]), 1.0)
            x = (context(targets) @ main(first)[:, :, None])[:, :, 0]
            optimizer.zero_grad()
            (-F.logsigmoid(sign * x)).sum().backward()
            optimizer.step()


def _pairs(chunk: Any, batch: int) -> Any:
    """Pairs (token, neighbour), ``batch`` at a time."""
    from lm_research.vectorizers.word2vec_batches import neighbours

    many, near = neighbours(chunk, np.arange(len(chunk.ids_M)))
    token = torch.from_numpy(np.repeat(chunk.ids_M, many))
    return zip(token.split(batch), torch.from_numpy(near).split(batch), strict=True)


def quality(words: list[str], ids: list[np.ndarray]) -> dict[str, Any]:
    """D = 50, 5 epochs, each architecture with both windows."""
    id_of, tokens = {word: id for id, word in enumerate(words)}, gathered(ids, len(words), 1e12)
    found: dict[str, Any] = {"epochs": 5}
    for name, rate in ARCHITECTURES.items():
        for window in (5, 10):
            started = time.process_time()
            chosen = settings(rate, window=window)
            vectors, _ = train_blocks(tokens, 50, chosen, name == "cbow", threads=1)
            seconds = round(time.process_time() - started, 1)
            found[f"{name}_window_{window}"] = {"cpu_s": seconds, **answers(id_of, vectors)}
            print(name, window, found[f"{name}_window_{window}"], flush=True)
    return found
