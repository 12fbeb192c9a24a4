"""Sample text from a language model, token by token with cached state.

Shapes: B streams, T time, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.sampling import Sampling, choose, choose_rows
from lm_research.tasks.streaming import Stream, StreamingModel, select, stepper
from lm_research.text.tokenizer import Tokenizer


def generate(
    model: StreamingModel, tokenizer: Tokenizer, prompt: str, length: int, sampling: Sampling
) -> Iterator[int]:
    """Ids that continue ``prompt``; ends at a document separator or after ``length`` tokens.

    The prompt is read as the beginning of a document.
    """
    scores_BV, stream = _read(model, tokenizer, prompt)
    generator, step = torch.Generator().manual_seed(sampling.seed), stepper(model)
    for left in reversed(range(length)):
        token = choose(scores_BV[0], sampling, generator)
        if token == tokenizer.separator_id:
            return
        yield token
        if left:
            scores_BV, stream = step(torch.tensor([token]), stream)


def generate_several(
    model: LanguageModeling,
    tokenizer: Tokenizer,
    prompt: str,
    length: int,
    samplings: Sequence[Sampling],
) -> list[list[int]]:
    """Several continuations of one prompt, which is read once; a step advances all that go on.

    Each is what :func:`generate` gives by itself, but for the last bits of the probabilities.
    """
    scores_BV, stream = _read(model, tokenizer, prompt)
    generators = [torch.Generator().manual_seed(sampling.seed) for sampling in samplings]
    found: list[list[int]] = [[] for _ in samplings]
    going, step = list(range(len(samplings))), stepper(model)
    rows = torch.zeros(len(going), dtype=torch.long, device=scores_BV.device)
    scores_BV, stream = select((scores_BV, stream), rows)
    for left in reversed(range(length)):
        how = [samplings[n] for n in going], [generators[n] for n in going]
        drawn = choose_rows(scores_BV, *how)
        kept = [row for row, token in enumerate(drawn) if token != tokenizer.separator_id]
        for row in kept:
            found[going[row]].append(drawn[row])
        if not kept:
            break
        if len(kept) < len(going):
            going = [going[row] for row in kept]
            stream = select(stream, torch.tensor(kept, device=scores_BV.device))
        if left:
            scores_BV, stream = step(torch.tensor([drawn[row] for row in kept]), stream)
    return found


def _read(model: StreamingModel, tokenizer: Tokenizer, prompt: str) -> tuple[Tensor, Stream]:
    """log_p_1V of the first token, and the stream."""
    ids_N = torch.from_numpy(tokenizer.encode(prompt).ids_N)
    start = torch.cat([torch.tensor([tokenizer.separator_id]), ids_N])
    log_p_1TV, stream = model.advance(start[None], model.start(1))
    return log_p_1TV[:, -1], stream
