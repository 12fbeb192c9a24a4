"""``lm-research predict run=FOLDER input=FILE``: what a finished run says of texts.

Classes by a classifier; translations or summaries by a sequence-to-sequence model; tags of words by
a tagger.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import (
    Interval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

SUMMARY = (
    "Classes of texts by a finished run of task=classification, tags of their words by one of\n"
    "task=tagging, or what one of task=translation or summarization writes of them. A line of\n"
    "the input is a text, or a JSON object with a field `text`; a line of the output is a JSON\n"
    "object: line, what the input's object had beside its text, predicted, and probabilities by\n"
    "class, or a score and the n_best texts; of a tagger words and tags.\n"
    "Options of the search (beam, ...) are for models that write; null: as in the run."
)
Row = tuple[int, dict[str, Any], str]
Say = Callable[[Sequence[Any], Sequence[int]], Iterator[dict[str, Any]]]
"""From documents (ids_N each) and the numbers of their lines to what is said of each."""


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run of one of these tasks")
    input: str = option(help="file of lines; - is standard input")
    output: str | None = option(None, "a new file; null: standard output")
    format: Literal["auto", "lines", "jsonl"] = option("auto", "auto: jsonl if the name ends so")
    checkpoint: Literal["last", "best"] = option("best", "which weights")
    batch_size: PositiveInt = option(64, "texts at once: a matter of speed and memory alone")
    beam: PositiveInt | None = option(None, "beams of the search; 1: greedy")
    length_penalty: NonNegativeFloat | None = option(None, "0: the most probable text")
    coverage_penalty: NonNegativeFloat | None = option(None, "for what is left unread")
    no_repeat_ngram_size: NonNegativeInt | None = option(None, "no n tokens in a row come twice")
    n_best: PositiveInt = option(1, "texts for each input, the best first")
    temperature: PositiveFloat | None = option(None, "draw texts instead of searching")
    top_k: PositiveInt | None = option(None, "draw among the k most probable tokens")
    top_p: Annotated[float, Interval(0, 1, open_low=True)] | None = option(
        None, "draw among the fewest tokens that hold this probability"
    )
    seed: NonNegativeInt = option(0, "of the draws")
    words: Literal["auto", "spaces"] = option("auto", "of a tagger; spaces: the texts are cut")


def run(arguments: list[str]) -> int:
    """Predict line by line, in batches."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("predict", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    _check(options)
    from lm_research.cli.allocator import keep_freed_memory
    from lm_research.cli.job import quiet
    from lm_research.cli.saved import SavedRunError, load
    from lm_research.cli.tagging import Words, tags_of
    from lm_research.tasks.classification import Classification
    from lm_research.tasks.sequence_to_sequence import SequenceToSequence
    from lm_research.tasks.tagging import Tagging

    quiet()
    keep_freed_memory()
    saved = load(options.run, options.checkpoint)
    encode: Callable[[str], Any] = encoder(saved)
    if isinstance(saved.model, Classification):
        say = _classes(saved)
    elif isinstance(saved.model, SequenceToSequence):
        say = _texts(saved, options)
    elif isinstance(saved.model, Tagging):
        encode, say = Words(saved, options.words), tags_of(saved.model)
    else:
        raise SavedRunError(
            f"run={options.run}: a language model; predict is for task=classification, tagging, "
            "translation and summarization, and this run can `lm-research generate`"
        )
    with ExitStack() as stack:
        source, target = _opened(options, stack)
        _predict(encode, say, _rows(source, options), target, options.batch_size)
    return 0


def _check(options: Options) -> None:
    problems = []
    if options.input != "-" and not Path(options.input).expanduser().is_file():
        problems.append(Problem("input", "is no file", options.input, "a file of lines, or -"))
    if options.output and Path(options.output).expanduser().exists():
        problems.append(Problem("output", "is there already", options.output, "a new file"))
    if options.temperature is None and (options.top_k or options.top_p):
        message = "is for drawn texts, and there is no temperature to draw at"
        field = "top_k" if options.top_k else "top_p"
        problems.append(Problem(field, message, None, "temperature=1"))
    if problems:
        raise ConfigError(problems)


def _opened(options: Options, stack: ExitStack) -> tuple[TextIO, TextIO]:
    source, target = sys.stdin, sys.stdout
    if options.input != "-":
        path = Path(options.input).expanduser()
        source = stack.enter_context(path.open(encoding="utf-8", errors="replace"))
    if options.output:
        target = stack.enter_context(Path(options.output).expanduser().open("x", encoding="utf-8"))
    return source, target


def _rows(source: TextIO, options: Options) -> Iterator[Row]:
    """(number of the line, fields beside the text, text) of each line that is not blank.

    Raises:
        ConfigError: a line that is no JSON object with a text.
    """
    named = options.format == "auto" and options.input.endswith((".jsonl", ".ndjson"))
    is_json = named or options.format == "jsonl"
    for number, line in enumerate(source, start=1):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        if not is_json:
            yield number, {}, line
            continue
        try:
            row = json.loads(line)
            yield number, {k: v for k, v in row.items() if k != "text"}, str(row["text"])
        except (ValueError, KeyError, AttributeError, TypeError):
            allowed = '{"text": "..."}; or format=lines'
            problem = Problem(f"input, line {number}", "is no object with a text", None, allowed)
            raise ConfigError([problem]) from None


def _predict(
    encode: Callable[[str], Any], say: Say, rows: Iterator[Row], target: TextIO, batch_size: int
) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,} texts"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        shown = progress.add_task("", total=None)
        while batch := list(islice(rows, batch_size)):
            documents = [encode(text) for _, _, text in batch]
            numbers = [number for number, _, _ in batch]
            for (number, rest, _), found in zip(batch, say(documents, numbers), strict=True):
                line = {"line": number, **rest, **found}
                target.write(json.dumps(line, ensure_ascii=False) + "\n")
            target.flush()
            progress.advance(shown, len(batch))


def _classes(saved: Any) -> Say:
    """Predicted class and probabilities."""
    from lm_research.tasks.classifying import classify

    def say(documents: Sequence[Any], numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        for predicted, p_C in classify(saved.model, documents):
            p = {n: round(float(v), 6) for n, v in zip(saved.model.classes, p_C, strict=True)}
            yield {"predicted": predicted, "probabilities": p}

    return say


def _texts(saved: Any, options: Options) -> Say:
    """What the model writes; draws follow from the number of the line."""
    from lm_research.tasks.writing import write_texts

    how, tokenizer = _search(saved, options), saved.target_tokenizer or saved.tokenizer

    def say(documents: Sequence[Any], numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        for found in write_texts(saved.model, documents, how, names=numbers):
            texts = [
                {"text": tokenizer.decode(one.ids).strip(), "score": one.score} for one in found
            ]
            best = {"predicted": texts[0]["text"], "score": texts[0]["score"]}
            yield {**best, "n_best": texts} if options.n_best > 1 else best

    return say


def _search(saved: Any, options: Options) -> Any:
    """The run's way to search, changed as the options say."""
    from dataclasses import replace

    from lm_research.tasks.sampling import Sampling

    names = ("beam", "length_penalty", "coverage_penalty", "no_repeat_ngram_size")
    asked = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.temperature is not None:
        draw = (options.temperature, options.top_k, options.top_p, options.seed)
        asked["sampling"] = Sampling(*draw)
    elif options.n_best > asked.get("beam", saved.model.search.beam):
        message = "is more than beam search keeps"
        problem = Problem("n_best", message, str(options.n_best), f"beam={options.n_best}")
        raise ConfigError([problem])
    return replace(saved.model.search, n_best=options.n_best, **asked)


def encoder(saved: Any) -> Callable[[str], Any]:
    """From a text to ids, through the cleaning rules that the run's training text went through.

    Rules that compare texts with one another are left out, and a text that a rule would drop from
    a corpus is predicted all the same, as it is.
    """
    from lm_research.config.build import build
    from lm_research.text.cleaning import Cleaner, Comparing
    from lm_research.text.unicode import valid_unicode

    rules = build(saved.config["text"]["cleaning"])
    cleaner = Cleaner(rule for rule in rules if not isinstance(rule, Comparing))

    def encode(text: str) -> Any:
        cleaned = cleaner.clean(text, "input") or text
        return saved.tokenizer.encode(valid_unicode(cleaned)).ids_N

    return encode
