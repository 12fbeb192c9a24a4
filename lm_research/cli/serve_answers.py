"""What a served run says: continuations and surprise, classes, tags, or texts.

One request at a time has the model. Shapes: N tokens, V vocabulary, C classes.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lm_research.cli.predict import encoder
from lm_research.cli.saved import SavedRun, SavedRunError
from lm_research.cli.serve_fields import (
    MOST_SECONDS,
    Continuation,
    Sentence,
    Text,
    Writing,
    check_tokens,
    filled,
)
from lm_research.cli.tagging import Words, tags_of
from lm_research.config.problems import ConfigError, Problem
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import classify
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.generation import generate
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.sampling import Sampling
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging
from lm_research.tasks.writing import write_texts
from lm_research.text.spaced import SpacedTokenizer
from lm_research.text.unicode import utf8_length

Answer = dict[str, Any]
PATIENCE_S = 120.0
"""How long a request waits for those before it."""
PIECE = 256
"""Tokens that are read at once, so that V numbers a token never add up."""


class BusyError(Exception):
    """Other requests have the model."""


class Trial:
    """A run to be tried.

    Args:
        saved: the run.
        name: what it is called on the page.

    Attributes:
        kind: ``language_model``, ``classifier``, ``tagger`` or ``writer``.
        ways: what can be asked, by the last part of the address.

    Raises:
        SavedRunError: a run of another task.
    """

    def __init__(self, saved: SavedRun, name: str) -> None:
        self.saved, self.name = saved, Path(name).name
        self.kind, self.ways = self._ways()
        self._lock = threading.Lock()

    def _ways(self) -> tuple[str, dict[str, Callable[[Any], Answer]]]:
        model = self.saved.model
        if isinstance(model, Classification):
            return "classifier", {"classify": self._classify}
        if isinstance(model, Tagging):
            return "tagger", {"tag": self._tag}
        if isinstance(model, SequenceToSequence):
            return "writer", {"write": self._write}
        if isinstance(model, LanguageModeling | CountedLanguageModel):
            return "language_model", {"generate": self._generate, "surprise": self._surprise}
        raise SavedRunError(
            f"run={self.name}: a {type(model).__name__}; serve is for language models, "
            "classification, tagging, translation and summarization"
        )

    def facts(self) -> Answer:
        """What the page shows of the run."""
        config = self.saved.config
        choices = config.get("choices") or {}
        facts = {
            "data": config.get("data", {}).get("name"),
            "task": choices.get("task"),
            "model": choices.get("model"),
            "vectorizer": choices.get("vectorizer"),
            "text": choices.get("text"),
            "vocabulary": self.saved.tokenizer.vocabulary_size,
        }
        search = getattr(self.saved.model, "search", None)
        return {
            "kind": self.kind,
            "run": self.name,
            "ways": list(self.ways),
            "facts": {name: value for name, value in facts.items() if value is not None},
            "spaced": isinstance(self.saved.tokenizer, SpacedTokenizer),
            "beam": getattr(search, "beam", None),
        }

    def answer(self, way: str, values: Any) -> Answer:
        """What the run says to the fields of a request.

        Raises:
            ConfigError: a field that does not fit.
            BusyError: those before it take too long.
        """
        with self._turn():
            before = time.monotonic()
            found = self.ways[way](values)
            return {**found, "seconds": round(time.monotonic() - before, 3)}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=PATIENCE_S):
            raise BusyError(f"the model is at work on other requests for {PATIENCE_S:.0f} s now")
        try:
            yield
        finally:
            self._lock.release()

    # --- language models

    def _generate(self, values: Any) -> Answer:
        asked = filled(Continuation, values)
        model, tokenizer = self.saved.model, self.saved.tokenizer
        assert isinstance(model, LanguageModeling | CountedLanguageModel)
        check_tokens(len(tokenizer.encode(asked.text).ids_N))
        how = Sampling(asked.temperature, asked.top_k, asked.top_p, asked.seed)
        until, ids, ended = time.monotonic() + MOST_SECONDS, [], "text"
        for token in generate(model, tokenizer, asked.text, asked.length, how):
            ids.append(token)
            if time.monotonic() > until:
                ended = "time"
                break
        if ended == "text" and len(ids) == asked.length:
            ended = "length"
        return {"continuation": tokenizer.decode(ids), "tokens": len(ids), "ended_by": ended}

    def _surprise(self, values: Any) -> Answer:
        """-log p of every token, and of the document's end, as evaluation counts them."""
        text = filled(Text, values).text
        tokenizer = self.saved.tokenizer
        ids_N, spelling = tokenizer.encode(text)
        check_tokens(len(ids_N))
        ids = [*ids_N.tolist(), tokenizer.separator_id]
        nats = self._nats(ids)
        rows = [
            {"token": tokenizer.token(i), "nats": n, "bits": n / math.log(2)}
            for i, n in zip(ids, nats, strict=True)
        ]
        total, size = sum(nats), utf8_length(text)
        whole = total + spelling  # NaN where the tokenizer cannot say what spelling costs
        per_byte = whole / math.log(2) / size if size and math.isfinite(whole) else None
        return {
            "tokens": rows,
            "nats": total,
            "spelling_nats": spelling if math.isfinite(spelling) else None,
            "bits_per_byte": per_byte,
            "perplexity_token": math.exp(min(total / len(ids), 700.0)),
        }

    def _nats(self, ids: list[int]) -> list[float]:
        model = self.saved.model
        assert isinstance(model, LanguageModeling | CountedLanguageModel)
        stream, nats = model.start(1), []
        inputs = [self.saved.tokenizer.separator_id, *ids[:-1]]
        for start in range(0, len(ids), PIECE):
            log_p_1TV, stream = model.advance(torch.tensor([inputs[start : start + PIECE]]), stream)
            targets_T1 = torch.tensor(ids[start : start + PIECE])[:, None]
            nats += (-log_p_1TV[0].cpu().gather(1, targets_T1)[:, 0].double()).tolist()
        return nats

    # --- classifiers

    def _classify(self, values: Any) -> Answer:
        text, model = filled(Text, values).text, self.saved.model
        assert isinstance(model, Classification)
        ids_N = encoder(self.saved)(text)
        check_tokens(len(ids_N))
        predicted, p_C = next(classify(model, [ids_N]))
        ranked = sorted(zip(model.classes, p_C.tolist(), strict=True), key=lambda row: -row[1])
        rows = [{"class": name, "p": p} for name, p in ranked]
        return {"predicted": predicted, "classes": rows, "tokens": len(ids_N)}

    # --- taggers

    def _tag(self, values: Any) -> Answer:
        asked, model = filled(Sentence, values), self.saved.model
        assert isinstance(model, Tagging)
        cut = Words(self.saved, asked.words)(asked.text)
        tokens = sum(len(ids.ids_N) for _, ids in cut)
        check_tokens(tokens)
        return {**next(tags_of(model)([cut], [1])), "tokens": tokens}

    # --- translation and summarization

    def _write(self, values: Any) -> Answer:
        asked, model = filled(Writing, values), self.saved.model
        assert isinstance(model, SequenceToSequence)
        ids_N = encoder(self.saved)(asked.text)
        check_tokens(len(ids_N))
        tokenizer = self.saved.target_tokenizer or self.saved.tokenizer
        found = write_texts(model, [ids_N], self._search(asked, model))[0]
        texts = [{"text": tokenizer.decode(h.ids).strip(), "score": h.score} for h in found]
        return {"texts": texts, "tokens": len(ids_N), "read": len(ids_N[: model.most_source])}

    def _search(self, asked: Writing, model: SequenceToSequence) -> Any:
        names = ("beam", "length_penalty", "coverage_penalty")
        given = {n: getattr(asked, n) for n in names if getattr(asked, n) is not None}
        beam = given.get("beam", model.search.beam)
        if asked.temperature is not None:
            given["sampling"] = Sampling(asked.temperature, asked.top_k, asked.top_p, asked.seed)
        elif asked.top_k is not None or asked.top_p is not None:
            field = "top_p" if asked.top_k is None else "top_k"
            problem = Problem(field, "is for drawn texts", None, "a temperature beside it")
            raise ConfigError([problem])
        elif asked.n_best > beam:
            told = f"at most beam={beam}, or a greater beam"
            raise ConfigError([Problem("n_best", "does not fit", str(asked.n_best), told)])
        return replace(model.search, n_best=asked.n_best, **given)
