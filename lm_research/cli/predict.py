"""``lm-research predict run=FOLDER input=FILE``: a finished classifier's classes of texts."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import PositiveInt

SUMMARY = (
    "Classes of texts by a finished run of task=classification. A line of the input is a text, or\n"
    "a JSON object with a field `text`; a line of the output is a JSON object: line, what the\n"
    "input's object had beside its text, predicted, and probabilities by class."
)
Row = tuple[int, dict[str, Any], str]


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run of task=classification")
    input: str = option(help="file of lines; - is standard input")
    output: str | None = option(None, "a new file; null: standard output")
    format: Literal["auto", "lines", "jsonl"] = option("auto", "auto: jsonl if the name ends so")
    checkpoint: Literal["last", "best"] = option("best", "which weights")
    batch_size: PositiveInt = option(64, "texts at once: a matter of speed and memory alone")


def run(arguments: list[str]) -> int:
    """Predict line by line, in batches."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("predict", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    _check(options)
    from lm_research.cli.job import quiet
    from lm_research.cli.saved import SavedRunError, load
    from lm_research.tasks.classification import Classification

    quiet()
    saved = load(options.run, options.checkpoint)
    if not isinstance(saved.model, Classification):
        raise SavedRunError(f"run={options.run}: no classifier (task=classification)")
    with ExitStack() as stack:
        source, target = _opened(options, stack)
        _predict(saved, _rows(source, options), target, options.batch_size)
    return 0


def _check(options: Options) -> None:
    problems = []
    if options.input != "-" and not Path(options.input).expanduser().is_file():
        problems.append(Problem("input", "is no file", options.input, "a file of lines, or -"))
    if options.output and Path(options.output).expanduser().exists():
        problems.append(Problem("output", "is there already", options.output, "a new file"))
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


def _predict(saved: Any, rows: Iterator[Row], target: TextIO, batch_size: int) -> None:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from lm_research.tasks.classifying import classify

    encode = _encoder(saved)
    columns = (TextColumn("{task.completed:,} texts"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        shown = progress.add_task("", total=None)
        while batch := list(islice(rows, batch_size)):
            documents = [encode(text) for _, _, text in batch]
            for row, found in zip(batch, classify(saved.model, documents), strict=True):
                target.write(_line(row, *found, saved.model.classes))
            target.flush()
            progress.advance(shown, len(batch))


def _encoder(saved: Any) -> Callable[[str], Any]:
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


def _line(row: Row, predicted: str, p_C: Any, classes: list[str]) -> str:
    number, rest, _ = row
    probabilities = {name: round(float(p), 6) for name, p in zip(classes, p_C, strict=True)}
    line = {"line": number, **rest, "predicted": predicted, "probabilities": probabilities}
    return json.dumps(line, ensure_ascii=False) + "\n"
