"""``lm-research runs list | show | compare | export``: the runs of a folder, from its ledger."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lm_research.cli.options import help_text, option, parse
from lm_research.cli.tell import tell
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.types import PositiveInt

if TYPE_CHECKING:
    from sqlalchemy import Select

    from lm_research.analysis.runs import Run
    from lm_research.tracking.ledger.ledger import Ledger

USAGE = """usage: lm-research runs list [FIELD=VALUE ...]           what there is, and how far
       lm-research runs show RUN                         one run, whole
       lm-research runs compare RUN RUN [RUN ...]        what differs, and nothing else
       lm-research runs export [FIELD=VALUE ...]         one row a run, for other programs
       lm-research runs vectors RUN output=FILE          the vectors of its tokens, for other
       programs

RUN is a folder, or what the id or the name of a run in runs=FOLDER begins with.
FIELD=VALUE keeps the runs with that option or configuration value: model=lstm,gru seed=1

lm-research runs ACTION --help tells more. Options may be written --KEY VALUE, too."""

DEFAULT_FOLDER = "runs"
_LONG_REFRESH = 1000


@dataclass(frozen=True)
class InFolder:
    """Options of `show` and `compare`."""

    runs: str = option(DEFAULT_FOLDER, "the folder of runs in which RUN may be an id or a name")


@dataclass(frozen=True)
class VectorsOptions:
    """Options of `vectors`."""

    output: str = option(help="a new file; .gz, .xz or .zst compress it")
    format: Literal["glove", "word2vec", "word2vec_binary", "fasttext"] = option(
        "glove", "glove, word2vec (fastText's .vec), word2vec_binary or fasttext (.bin)"
    )
    checkpoint: Literal["last", "best"] = option("last", "which weights")
    runs: str = option(DEFAULT_FOLDER, "the folder of runs in which RUN may be an id or a name")


@dataclass(frozen=True)
class ListOptions:
    """Options of `list`; every other KEY=VALUE is a filter by an option or a field."""

    runs: str = option(DEFAULT_FOLDER, "the folder of runs, of a sweep or of many")
    state: str | None = option(None, "queued, running, stale, interrupted, failed, done: commas")
    sort: str | None = option(None, "a metric, the best first; null: the newest first")
    limit: PositiveInt | None = option(50, "how many to show; null: all")


@dataclass(frozen=True)
class ExportOptions:
    """Options of `export`; every other KEY=VALUE is a filter by an option or a field."""

    runs: str = option(DEFAULT_FOLDER, "the folder of runs, of a sweep or of many")
    state: str | None = option(None, "queued, running, stale, interrupted, failed, done: commas")
    sort: str | None = option(None, "a metric, the best first; null: the newest first")
    limit: PositiveInt | None = option(None, "how many rows of runs; null: all")
    rows: Literal["runs", "metrics"] = option("runs", "one row a run, or a row of its metrics")
    format: Literal["csv", "parquet", "json"] | None = option(None, "null: by output's ending, csv")
    output: str | None = option(None, "a new file; null: standard output")


def run(arguments: list[str]) -> int:
    """Dispatch to the action."""
    actions = {"list": _list, "show": _show, "compare": _compare, "export": _export}
    actions |= {"vectors": _vectors}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    name, rest = arguments[0], _joined(arguments[1:])
    if name not in actions:
        near = closest(name, actions)
        raise ConfigError([Problem(name, "no such action", None, listing(actions), near)])
    if {"-h", "--help"} & set(rest):
        print(_help(name))
        return 0
    return actions[name](rest)


def _help(action: str) -> str:
    schema = {"list": ListOptions, "export": ExportOptions, "vectors": VectorsOptions}.get(
        action, InFolder
    )
    what = {"show": " RUN", "vectors": " RUN", "compare": " RUN RUN [RUN ...]"}.get(action, "")
    return help_text(f"runs {action}{what}", schema, USAGE.splitlines()[-3] if what else USAGE)


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--key value`` and ``--key=value`` as ``key=value``."""
    joined, left = [], iter(arguments)
    for argument in left:
        if argument.startswith("--") and argument != "--help":
            equals = "=" in argument
            joined.append(argument[2:] if equals else f"{argument[2:]}={next(left, '')}")
        else:
            joined.append(argument)
    return joined


def opened(folder: str) -> "Ledger":
    """The ledger of ``folder``, up to date; what happened to its file is told."""
    from lm_research.tracking.ledger.ledger import open_ledger

    ledger = open_ledger(Path(folder).expanduser(), cache_folder(), _progress)
    for remark in ledger.remarks:
        tell(remark)
    return ledger


def recorded(folder: Path | str) -> "list[Run]":
    """The runs at or below ``folder``, from its ledger.

    Raises:
        FileNotFoundError: no such folder, or no run in it.
    """
    from lm_research.analysis.runs import no_runs

    runs = opened(str(folder)).runs()
    if not runs:
        raise no_runs(folder)
    return runs


def cache_folder() -> Path:
    """Where the user's caches are."""
    return Path(os.environ.get("LM_RESEARCH_CACHE") or "~/.cache/lm_research").expanduser()


def _progress(done: int, of: int) -> None:
    if of >= _LONG_REFRESH and sys.stderr.isatty():
        end = "\n" if done == of else "\r"
        print(f"reading the folders of runs: {done:,} of {of:,}", end=end, file=sys.stderr)


def _selected(
    options: ListOptions | ExportOptions, filters: list[str]
) -> tuple["Ledger", "Select"]:
    """The ledger, and a query for the ids that are wanted."""
    from lm_research.tracking.ledger.selection import chosen

    wrong = [text for text in filters if "=" not in text]
    if wrong:
        raise ConfigError([Problem(text, "is not FIELD=VALUE") for text in wrong])
    if not Path(options.runs).expanduser().is_dir():
        said = "no such folder"
        raise ConfigError(
            [Problem("runs", said, options.runs, "a folder with runs at or below it")]
        )
    ledger = opened(options.runs)
    fields = dict(text.split("=", 1) for text in filters)
    states = [state.strip() for state in (options.state or "").split(",") if state.strip()]
    return ledger, chosen(ledger, fields, states, options.sort)


def _split(schema: Any, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of ``schema``, and everything else."""
    names = set(schema.__dataclass_fields__)
    given = [a for a in arguments if "=" in a and a.partition("=")[0] in names]
    return given, [a for a in arguments if a not in given]


def _list(arguments: list[str]) -> int:
    """A table of runs."""
    given, filters = _split(ListOptions, arguments)
    options, _ = parse(ListOptions, given)
    ledger, query = _selected(options, filters)
    from lm_research.cli.runs_shown import print_list

    print_list(ledger, query, options.sort, options.limit)
    return 0


def _runs_named(arguments: list[str], least: int) -> list:
    given, names = _split(InFolder, arguments)  # a run's own name may hold an "=", too
    options, _ = parse(InFolder, given)
    if len(names) < least or (least == 1 and len(names) > 1):
        wanted = "exactly one RUN" if least == 1 else "at least two RUNs"
        raise ConfigError([Problem("RUN", f"{len(names)} given", None, f"{wanted} (see --help)")])
    from lm_research.tracking.ledger.selection import find_run

    by_name = not all(Path(name).expanduser().is_dir() for name in names)
    there = Path(options.runs).expanduser().is_dir()
    ledger = opened(options.runs) if by_name and there else None
    return [find_run(name, ledger) for name in names]


def _show(arguments: list[str]) -> int:
    """One run."""
    found = _runs_named(arguments, 1)
    from lm_research.cli.runs_shown import print_run

    print_run(found[0])
    return 0


def _compare(arguments: list[str]) -> int:
    """What differs between runs."""
    found = _runs_named(arguments, 2)
    from lm_research.cli.runs_shown import print_comparison

    print_comparison(found)
    return 0


def _vectors(arguments: list[str]) -> int:
    """A file of word vectors."""
    given, names = _split(VectorsOptions, arguments)
    options, _ = parse(VectorsOptions, given)
    found = _runs_named([f"runs={options.runs}", *names], 1)
    from lm_research.cli.runs_vectors import export_vectors

    print(export_vectors(found[0].folder, options.output, options.format, options.checkpoint))
    return 0


def _export(arguments: list[str]) -> int:
    """Rows for other programs."""
    given, filters = _split(ExportOptions, arguments)
    options, _ = parse(ExportOptions, given)
    ledger, query = _selected(options, filters)
    from lm_research.cli.runs_exported import export
    from lm_research.tracking.ledger.ledger import no_collection

    with no_collection():  # the process ends with the file
        export(ledger, query, options)
    return 0
