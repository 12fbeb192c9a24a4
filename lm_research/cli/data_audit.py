"""``lm-research data audit data=A,B output=FOLDER``: what sources hold, as JSON and a page."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_research.cli.options import option, parse, split_config_dir
from lm_research.cli.tell import safe
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import NonNegativeInt, PositiveInt

PASSED_ON = ("data", "text", "splits", "source_timeout")
MARK = '"lm_research": "audit"'
"""What every audit.json holds: only such a file is replaced."""


class AuditError(Exception):
    """An audit that cannot be written; says why."""


@dataclass(frozen=True)
class Options:
    """Options of the action."""

    output: str | None = option(None, "folder for audit.json and audit.html; null: JSON is printed")
    sample_bytes: PositiveInt = option(
        2_000_000, "of each source, for what counts alone do not tell"
    )
    seed: NonNegativeInt = option(0, "of the sample and the bootstrap")


def more_is_asked(arguments: Sequence[str]) -> bool:
    """Whether it is this audit, and not the quick one of a single source."""
    own = ("output=", "sample_bytes=", "seed=")
    several = any(a.startswith("data=") and "," in a for a in arguments)
    return several or any(argument.startswith(own) for argument in arguments)


def run(arguments: list[str]) -> int:
    """Read the sources once, and write or print what was found."""
    config_dir, rest = split_config_dir(arguments)
    options, overrides = parse(Options, rest, PASSED_ON)
    configs = composed(overrides, config_dir)
    folder = None if options.output is None else prepared_folder(options.output, "audit")
    found = audit(configs, options)
    if folder is None:
        print(json.dumps(found, ensure_ascii=True, indent=2, allow_nan=False))
    else:
        write(found, folder)
    for line in summary(found):
        print(safe(line), file=sys.stderr if folder is None else sys.stdout)
    return 0


def composed(overrides: Sequence[str], config_dir: str | None) -> list[dict[str, Any]]:
    """One configuration for each option of ``data=A,B``, every problem of all of them told.

    Raises:
        ConfigError: also for a field of a source beside several sources.
    """
    from lm_research.config.compose import compose

    chosen = [o.partition("=")[2] for o in overrides if o.startswith("data=")]
    names = [name.strip() for name in (chosen[-1] if chosen else "").strip("[]").split(",")]
    others = [o for o in overrides if not o.startswith("data=")]
    if len(names) > 1 and (fields := [o for o in others if o.lstrip("+~").startswith("data.")]):
        message = f"is a field of one source, and there are {len(names)}"
        allowed = "options of your own in --config-dir DIR: DIR/data/mine.yaml"
        raise ConfigError([Problem(field, message, None, allowed) for field in fields])
    problems: dict[str, Problem] = {}
    found = []
    for name in names:
        try:
            found.append(compose([*others, f"data={name}"] if name else others, config_dir).config)
        except ConfigError as error:
            problems |= {str(problem): problem for problem in error.problems}
    if problems:
        raise ConfigError(list(problems.values()))
    return found


def prepared_folder(output: str, name: str) -> Path:
    """The folder, made now, before hours of work.

    Raises:
        AuditError: it cannot be made, or holds a file of that name that is not ours.
    """
    folder = Path(output).expanduser()
    mark = MARK.replace("audit", name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.json"
        strange = file.exists() and mark not in file.read_text("utf-8", "replace")[:200]
    except OSError as error:
        raise AuditError(f"output={output}: {error.strerror or error}") from error
    if strange:
        raise AuditError(
            f"{file}: is there already and is none of ours; give another output=FOLDER"
        )
    return folder


def audit(configs: Sequence[dict[str, Any]], options: Options) -> dict[str, Any]:
    """Read all sources and say what they are made of, as plain JSON values.

    Public corpora are read as published: what ``leaks: drop`` would leave out of the training split
    is there, so that the leak is seen, and ``mended`` says how many documents that is.
    """
    from lm_research.cli.data import whole
    from lm_research.data.audit.audit import audited
    from lm_research.data.audit.reading import chained, read

    selections = [whole(config) for config in configs]
    asked = dict(pair for one in selections for pair in as_published(one.source))
    with working() as (size, tell):
        reading = read(chained(selections), options.sample_bytes, options.seed, size)
        _require_distinct(configs)
        cards = {card["name"]: card for one in selections for card in _cards(one.source)}
        found = audited(reading, cards, options.seed, tell)
    left_out = {one.source.name: one.report() for one in selections}
    leaked = dict(pair for one in selections for pair in _leaked(one.source))
    mended = {n: {"leaks": asked[n], "documents": k} for n, k in leaked.items() if k}
    return {"lm_research": "audit", **found, "mended": mended, "left_out": left_out}


def as_published(source: Any) -> Iterator[tuple[str, str]]:
    """Let a public corpus, or those in a mixture, keep what it leaks; gives what was asked."""
    for member in getattr(source, "sources", {}).values():
        yield from as_published(member)
    if hasattr(source, "leaks"):
        yield source.name, source.leaks
        source.leaks = "keep"


def _leaked(source: Any) -> Iterator[tuple[str, int]]:
    """(source, training documents that are in a held-out split), as the last reading found."""
    for member in getattr(source, "sources", {}).values():
        yield from _leaked(member)
    if hasattr(source, "leaked"):
        yield source.name, source.leaked


def _require_distinct(configs: Sequence[dict[str, Any]]) -> None:
    names = [config["data"]["name"] for config in configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = "is the name of two sources"
        raise ConfigError([Problem("data", message, name, "each source once") for name in twice])


def _cards(source: Any) -> Iterator[dict[str, str]]:
    """A source's card; of a mixture those of its members, whose names its documents bear."""
    for member in getattr(source, "sources", {}).values():
        yield from _cards(member)
    fields = ("name", "language", "category", "licence", "citation")
    yield {field: str(getattr(source, field)) for field in fields}


@contextmanager
def working() -> Iterator[Any]:
    """(told the bytes of a document, told what is being done)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading", total=None)
        read, now = 0, "reading"

        def size(size: int) -> None:
            nonlocal read
            before, read = read, read + size
            if before >> 18 != read >> 18:
                bar.update(task, description=f"read {read / 1e6:.1f} MB")

        def tell(what: str, documents: int) -> None:
            nonlocal now
            if what != now:
                now = what
                bar.update(task, description=safe(what), total=documents or None, completed=0)
            else:
                bar.advance(task)

        yield size, tell


def write(found: dict[str, Any], folder: Path) -> None:
    """audit.json and audit.html, each whole or not at all.

    Raises:
        AuditError: they cannot be written.
    """
    from lm_research.analysis.audit_page import audit_page
    from lm_research.analysis.page import MARK as PAGE_MARK
    from lm_research.analysis.page import write_text

    text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    try:
        write_text(folder / "audit.json", text, MARK)
        write_text(folder / "audit.html", audit_page(found), PAGE_MARK)
    except OSError as error:
        raise AuditError(str(error)) from error
    print(f"audit: {folder / 'audit.html'}")


def summary(found: dict[str, Any]) -> list[str]:
    """A few lines: sizes, leaks, copies, terms."""
    from lm_research.analysis.audit_sentences import sentences

    return [text.replace("`", "") for _, text in sentences(found)]
