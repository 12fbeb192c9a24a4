"""From a source to the text that a model writes of it: greedy, beam search, sampling.

Shapes: B sources, K beams of each, R = B K rows, S source tokens, V vocabulary, T tokens so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from lm_research.data.pair_batches import END
from lm_research.tasks.sampling import Sampling, choose_rows
from lm_research.tasks.streaming import select


class Writer(Protocol):
    """A model that writes token by token; the tensors of its memory and state are batch-first."""

    def begin(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Any, Any]:
        """What was read (which stays as it is), and the state before the first token."""
        ...

    def write(self, last_R: Tensor, memory: Any, state: Any) -> tuple[Tensor, Tensor, Any]:
        """log p_RV of the next token (nats), attention_RS over the source, and the state on."""
        ...


class Hypothesis(NamedTuple):
    """Ids without the end; log p in nats, the end's included; and the score it is ranked by."""

    ids: list[int]
    log_p: float
    score: float


@dataclass(frozen=True)
class Search:
    """How a text is looked for.

    Beam search extends the ``beam`` most probable beginnings by every token, and keeps the most
    probable ones again. A text that ends where it is among the ``beam`` best of a step is done, and
    ranked by (Wu et al. 2016, https://arxiv.org/abs/1609.08144)::

        log p / ((5 + T) / 6)^length_penalty  +  coverage_penalty sum_s log min(sum_t a_ts, 1)

    over its T tokens, the end included, where a_ts is its attention to source token s. The search
    of a source is over with ``beam`` texts done, or when nothing that is going on can be better. A
    text that has reached its limit is ended there. A beam of 1 is greedy.

    With ``no_repeat_ngram_size`` n, no n tokens in a row come twice in a text that beam search
    writes (Paulus et al. 2018, https://arxiv.org/abs/1705.04304, with n = 3).

    Args:
        beam: K.
        length_penalty: 0: the most probable text; greater: longer ones.
        coverage_penalty: greater: texts that leave no part of the source unread.
        n_best: texts of each source, the best first; beam search may find fewer.
        sampling: draw texts instead, independently; their score is log p.
        no_repeat_ngram_size: n; 0: texts may repeat.
        banned: ids that are never written.
    """

    beam: int = 5
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    n_best: int = 1
    sampling: Sampling | None = None
    no_repeat_ngram_size: int = 0
    banned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.beam, self.n_best) < 1 or (self.sampling is None and self.n_best > self.beam):
            raise ValueError(
                f"beam={self.beam}, n_best={self.n_best}: both are at least 1, and n_best is at "
                "most beam"
            )

    def score(self, log_p: float, length: int, attention_S: Tensor | None = None) -> float:
        """Of ``length`` tokens with their end, whose attention sums to ``attention_S``."""
        ranked = log_p / ((5 + length) / 6) ** self.length_penalty
        if self.coverage_penalty and attention_S is not None:
            covered_S = attention_S.clamp(1e-12, 1.0)
            ranked += self.coverage_penalty * float(covered_S.log().sum())
        return ranked


def search(
    model: Writer,
    source_BS: Tensor,
    lengths_B: Tensor,
    limits: Sequence[int],
    how: Search,
    names: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """The ``n_best`` texts for each source, which depend on no other source of the batch.

    Args:
        model: in evaluation mode.
        source_BS, lengths_B: ids and how many of each row are there.
        limits: the most tokens of each text, its end not counted.
        how: to search.
        names: a number for each source, from which its draws follow; by default its place.
    """
    if how.sampling is not None:
        return _sampled(model, source_BS, lengths_B, limits, how, names)
    return _Beams(model, source_BS, lengths_B, limits, how).run()


def forbid_repeats(log_p_BKV: Tensor, tokens_BKT: Tensor, size: int) -> None:
    """Make every token impossible, in place, that would repeat ``size`` tokens in a row.

    The end repeats nothing. A size of 0 forbids nothing.
    """
    length = tokens_BKT.shape[-1]
    if not 0 < size <= length:
        return
    gram_BKGN = tokens_BKT.unfold(-1, size, 1)
    last_BKN = tokens_BKT[..., length - size + 1 :]
    same_BKG = (gram_BKGN[..., :-1] == last_BKN[..., None, :]).all(-1)
    for source, beam, gram in same_BKG.nonzero().tolist():
        log_p_BKV[source, beam, gram_BKGN[source, beam, gram, -1]] = -torch.inf


class _Beams:
    """Beam search on a batch; sources that are done leave it."""

    def __init__(
        self,
        model: Writer,
        source_BS: Tensor,
        lengths_B: Tensor,
        limits: Sequence[int],
        how: Search,
    ) -> None:
        self.model, self.how, self.limits = model, how, list(limits)
        batch, steps = source_BS.shape
        memory, state = model.begin(source_BS, lengths_B)
        rows = torch.arange(batch, device=source_BS.device).repeat_interleave(how.beam)
        self.memory, self.state = select(memory, rows), select(state, rows)
        self.lengths = lengths_B.tolist()
        self.places = list(range(batch))  # of the sources that go on
        self.found: list[list[Hypothesis]] = [[] for _ in range(batch)]
        self.scores_BK = torch.full((batch, how.beam), -torch.inf, dtype=torch.float64)
        self.scores_BK[:, 0] = 0.0
        self.tokens_BKT = torch.zeros(batch, how.beam, 0, dtype=torch.int64)
        self.covered_RS = torch.zeros(batch * how.beam, steps, dtype=torch.float64)
        self.last_R = torch.full_like(rows, END)

    def run(self) -> list[list[Hypothesis]]:
        for step in count(1):
            parent_BC, token_BC, score_BC = self._candidates(step)
            self._end(step, parent_BC, token_BC, score_BC)
            self._go_on(parent_BC, token_BC, score_BC)
            self._leave(step)
            if not self.places:
                break
        return [sorted(h, key=lambda one: -one.score)[: self.how.n_best] for h in self.found]

    def _candidates(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The 2 K most probable ways to go on from the K beginnings of each source, in order.

        As each beginning has one end, at least K of them do not end.
        """
        beam = self.how.beam
        log_p_RV, weight_RS, self.state = self.model.write(self.last_R, self.memory, self.state)
        self.covered_RS += weight_RS.double().cpu()
        log_p_BKV = log_p_RV.double().cpu().unflatten(0, (-1, beam))
        log_p_BKV[..., list(self.how.banned)] = -torch.inf
        forbid_repeats(log_p_BKV, self.tokens_BKT, self.how.no_repeat_ngram_size)
        for row, place in enumerate(self.places):
            if step > self.limits[place]:
                end_K = log_p_BKV[row, :, END].clone()
                log_p_BKV[row] = -torch.inf
                log_p_BKV[row, :, END] = end_K
        size = log_p_BKV.shape[-1]
        total_BN = (self.scores_BK[..., None] + log_p_BKV).flatten(1)
        score_BC, flat_BC = total_BN.topk(min(2 * beam, beam * size))
        return flat_BC // size, flat_BC % size, score_BC

    def _end(self, step: int, parent_BC: Tensor, token_BC: Tensor, score_BC: Tensor) -> None:
        """Note the texts that end here, among the K best."""
        beam = self.how.beam
        ends_BK = (token_BC[:, :beam] == END) & score_BC[:, :beam].isfinite()
        for row, rank in ends_BK.nonzero().tolist():
            place, parent = self.places[row], int(parent_BC[row, rank])
            log_p = float(score_BC[row, rank])
            covered_S = self.covered_RS[row * beam + parent, : self.lengths[place]]
            score = self.how.score(log_p, step, covered_S)
            ids = self.tokens_BKT[row, parent].tolist()
            self.found[place].append(Hypothesis(ids, log_p, score))

    def _go_on(self, parent_BC: Tensor, token_BC: Tensor, score_BC: Tensor) -> None:
        """Take up the K best that do not end; where there are fewer, the rest is impossible."""
        beam, ends_BC = self.how.beam, token_BC == END
        score_BC = score_BC.masked_fill(ends_BC, -torch.inf)
        if score_BC.shape[1] < beam:  # a vocabulary of one or two tokens
            short = beam - score_BC.shape[1]
            score_BC = torch.nn.functional.pad(score_BC, (0, short), value=-torch.inf)
            parent_BC = torch.nn.functional.pad(parent_BC, (0, short))
            token_BC = torch.nn.functional.pad(token_BC, (0, short), value=END)
            ends_BC = torch.nn.functional.pad(ends_BC, (0, short), value=True)
        kept_BK = ends_BC.to(torch.int8).argsort(dim=1, stable=True)[:, :beam]
        parent_BK, token_BK = parent_BC.gather(1, kept_BK), token_BC.gather(1, kept_BK)
        self.scores_BK = score_BC.gather(1, kept_BK)
        rows = (torch.arange(len(parent_BK))[:, None] * beam + parent_BK).flatten()
        history = self.tokens_BKT.flatten(0, 1)[rows].unflatten(0, (-1, beam))
        self.tokens_BKT = torch.cat([history, token_BK[..., None]], dim=-1)
        self.covered_RS = self.covered_RS[rows]
        self.state = select(self.state, rows.to(self.last_R.device))
        self.last_R = token_BK.flatten().to(self.last_R.device)

    def _leave(self, step: int) -> None:
        """Let go of the sources that are done."""
        going = [row for row in range(len(self.places)) if not self._done(row, step)]
        if len(going) == len(self.places):
            return
        beam = self.how.beam
        self.places = [self.places[row] for row in going]
        kept = torch.tensor(going, dtype=torch.int64)
        rows = (kept[:, None] * beam + torch.arange(beam)).flatten()
        self.scores_BK, self.tokens_BKT = self.scores_BK[kept], self.tokens_BKT[kept]
        self.covered_RS = self.covered_RS[rows]
        rows = rows.to(self.last_R.device)
        self.memory, self.state = select(self.memory, rows), select(self.state, rows)
        self.last_R = self.last_R[rows]

    def _done(self, row: int, step: int) -> bool:
        place = self.places[row]
        found, limit = self.found[place], self.limits[place]
        best = float(self.scores_BK[row, 0])
        if step > limit or best == -torch.inf or len(found) >= self.how.beam:
            return True
        if len(found) < self.how.n_best:
            return False
        worst = sorted(one.score for one in found)[-self.how.n_best]
        return worst >= self.how.score(best, limit + 1)  # what it may become at most


def _sampled(
    model: Writer,
    source_BS: Tensor,
    lengths_B: Tensor,
    limits: Sequence[int],
    how: Search,
    names: Sequence[int] | None,
) -> list[list[Hypothesis]]:
    """``n_best`` draws for each source, each with a generator of its own."""
    assert how.sampling is not None
    names = range(len(limits)) if names is None else names
    generators = [
        _generator(how.sampling.seed, name, n) for name in names for n in range(how.n_best)
    ]
    memory, state = model.begin(source_BS, lengths_B)
    rows = torch.arange(len(limits), device=source_BS.device).repeat_interleave(how.n_best)
    memory, state = select(memory, rows), select(state, rows)
    room = [limit for limit in limits for _ in range(how.n_best)]
    drawn: list[list[int]] = [[] for _ in room]
    log_p, ended, last_R = [0.0] * len(room), [False] * len(room), torch.full_like(rows, END)
    while not all(ended):
        log_p_RV, _, state = model.write(last_R, memory, state)
        log_p_RV, last = log_p_RV.double().cpu(), last_R.tolist()
        log_p_RV[:, list(how.banned)] = -torch.inf
        going = [row for row, over in enumerate(ended) if not over]
        tokens = dict.fromkeys(going, END)
        choosing = [row for row in going if len(drawn[row]) < room[row]]
        some = [generators[row] for row in choosing]
        found = choose_rows(log_p_RV[choosing], [how.sampling] * len(choosing), some)
        tokens.update(zip(choosing, found, strict=True))
        for row, token in tokens.items():
            log_p[row] += float(log_p_RV[row, token])
            last[row], ended[row] = token, token == END
            if token != END:
                drawn[row].append(token)
        last_R = torch.tensor(last, device=last_R.device)
    texts = [Hypothesis(ids, p, p) for ids, p in zip(drawn, log_p, strict=True)]
    groups = (texts[at : at + how.n_best] for at in range(0, len(texts), how.n_best))
    return [sorted(group, key=lambda one: -one.score) for group in groups]


def _generator(seed: int, name: int, draw: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, name, draw)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
