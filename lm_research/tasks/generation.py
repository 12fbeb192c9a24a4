"""Sample text from a language model, token by token with cached state.

Shapes: B streams, T time, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lm_research.tasks.evaluation import DivergenceError
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.streaming import Stream, StreamingModel, select
from lm_research.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Args:
        temperature: divides the log-probabilities; 0 takes the most probable token (greedy).
        top_k: draw among the k most probable tokens only; of equal ones, those of lower id.
        top_p: draw among the fewest tokens that hold this much probability (Holtzman et al. 2020),
            measured after temperature and top_k.
        seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "temperature": (0 <= self.temperature < math.inf, "at least 0 (0: greedy), and finite"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1, or null"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "within (0, 1], or null"),
        }
        for name, (sound, allowed) in rules.items():
            if not sound:
                raise ValueError(f"{name}={getattr(self, name)}: allowed is a number {allowed}")


def choose(log_p_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Draw one id from log-probabilities (nats).

    Raises:
        DivergenceError: they are not numbers.
    """
    if log_p_V.isnan().any():
        raise DivergenceError(
            "the model's probabilities are not numbers (NaN): training diverged; lower "
            "optimizer.lr, or set trainer.gradient_clip"
        )
    if sampling.temperature == 0:
        return int(log_p_V.argmax())
    ordered, ids = log_p_V.double().sort(descending=True, stable=True)
    # Relative to the largest, so that no temperature is low enough to lose it, too.
    p = ((ordered - ordered[0]) / sampling.temperature)[: sampling.top_k].softmax(0)
    if sampling.top_p is not None:
        # A token stays if what comes before it does not yet reach top_p: at least one always does.
        p = p[p.cumsum(0) - p < sampling.top_p]
    return int(ids[torch.multinomial(p, 1, generator=generator)])


def generate(
    model: StreamingModel, tokenizer: Tokenizer, prompt: str, length: int, sampling: Sampling
) -> Iterator[int]:
    """Ids that continue ``prompt``; ends at a document separator or after ``length`` tokens.

    The prompt is read as the beginning of a document.
    """
    log_p_BTV, stream = _read(model, tokenizer, prompt)
    generator = torch.Generator().manual_seed(sampling.seed)
    for _ in range(length):
        token = choose(log_p_BTV[0, -1].cpu(), sampling, generator)
        if token == tokenizer.separator_id:
            return
        yield token
        log_p_BTV, stream = model.advance(torch.tensor([[token]]), stream)


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
    log_p_BTV, stream = _read(model, tokenizer, prompt)
    generators = [torch.Generator().manual_seed(sampling.seed) for sampling in samplings]
    found: list[list[int]] = [[] for _ in samplings]
    going = list(range(len(samplings)))
    rows = torch.zeros(len(going), dtype=torch.long)  # of the last step, by stream that goes on
    for _ in range(length):
        log_p_BV = log_p_BTV[rows, -1].cpu()
        drawn = [choose(log_p_BV[row], samplings[n], generators[n]) for row, n in enumerate(going)]
        kept = [row for row, token in enumerate(drawn) if token != tokenizer.separator_id]
        if not kept:
            break
        for row in kept:
            found[going[row]].append(drawn[row])
        going, stream = [going[row] for row in kept], select(stream, rows[kept].to(model.device))
        log_p_BTV, stream = model.advance(torch.tensor([[drawn[row]] for row in kept]), stream)
        rows = torch.arange(len(going))
    return found


def _read(model: StreamingModel, tokenizer: Tokenizer, prompt: str) -> tuple[Tensor, Stream]:
    ids_N = torch.from_numpy(tokenizer.encode(prompt).ids_N)
    start = torch.cat([torch.tensor([tokenizer.separator_id]), ids_N])
    return model.advance(start[None], model.start(1))
