"""``lm-research data show``: what each step of the cleaning did, on documents of one's own.

For every rule one document that it changed, as a small difference, and one that it dropped, with
the reason; then the counts. The documents are the first of the stream that a run would read.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lm_research.cli.options import option, parse, split_config_dir
from lm_research.cli.tell import safe
from lm_research.config.types import PositiveInt

OTHERS = ("data", "text", "splits", "budget", "cache", "local", "source_timeout")
"""Groups and fields whose overrides are the composer's."""
SHOWN = 600
"""Characters of a document that are shown."""
AROUND = 40
"""Characters shown on either side of a change."""
DIFFED = 4000
"""Characters of a document in which changes are looked for."""
CHANGES = 4
"""Changes of one document that are shown."""
_PIECE = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass
class Options:
    """Options of the action."""

    documents: PositiveInt = option(200, "how many documents to clean and count")
    examples: PositiveInt = option(2, "how many documents to show as they are")


@dataclass(frozen=True)
class Example:
    """A document that a rule changed or dropped."""

    id: str
    before: str
    after: str | None
    reason: str = ""


def show(arguments: list[str]) -> int:
    """Clean the first documents and print what happened."""
    from rich.console import Console

    from lm_research.cli.data import whole
    from lm_research.config.compose import compose

    config_dir, rest = split_config_dir(arguments)
    options, overrides = parse(Options, rest, OTHERS)
    selection = whole(compose(overrides, config_dir).config)
    console = Console(width=None if sys.stdout.isatty() else 140)
    cleaner, examples = _clean(console, selection, options)
    for index, rule in enumerate(cleaner.rules):
        for example in examples.get(index, {}).values():
            console.print(_panel_of(rule.name, example, marks=console.color_system is None))
    console.print(_table(cleaner))
    return 0


def _clean(console: Any, selection: Any, options: Options) -> tuple[Any, dict[int, Any]]:
    """Print the first documents, clean all, and keep an example of each kind for each rule."""
    from rich.text import Text

    documents, cleaner = selection.begin()
    examples: dict[int, dict[str, Example]] = {}
    for number, document in enumerate(islice(documents, options.documents)):
        if number < options.examples:
            label = _labels(document.label_set)
            console.print(_panel(Text(_visible(_cut(document.text))), f"{document.id}{label}"))
        for index, step in enumerate(cleaner.steps(document.text, document.source)):
            if step.after == step.before:
                continue
            kind = "changed" if isinstance(step.after, str) else "dropped"
            examples.setdefault(index, {}).setdefault(kind, _example(document.id, step))
    return cleaner, examples


def _labels(labels: tuple[str, ...] | None) -> str:
    """ " (label: a)", " (labels: a, b)", or nothing where nobody has said."""
    if labels is None:
        return ""
    return f" (label{'s' * (len(labels) != 1)}: {', '.join(labels) or 'none'})"


def _example(id: str, step: Any) -> Example:
    if isinstance(step.after, str):
        return Example(id, step.before, step.after)
    return Example(id, step.before, None, getattr(step.after, "reason", ""))


def _panel_of(name: str, example: Example, marks: bool) -> Any:
    from rich.text import Text

    if example.after is None:
        why = f": {example.reason}" if example.reason else ""
        body = Text(_visible(_cut(example.before)), style="red")
        return _panel(body, f"{name} dropped {example.id}{why}")
    body = difference(example.before, example.after, marks)
    return _panel(body, f"{name} changed {example.id}")


def difference(before: str, after: str, marks: bool = True) -> Any:
    """The first changes between two texts as rich text: removed red and struck, added green.

    Args:
        before: the old text.
        after: the new one.
        marks: also [-removed-] and {+added+}, for where there are no colours.
    """
    from rich.text import Text

    text = Text()
    for position, (kind, content) in enumerate(islice(_changes(before, after), 3 * CHANGES)):
        style = {"-": "red strike", "+": "green", " ": ""}[kind]
        shown = _visible(_cut(content, SHOWN // 2))
        if kind != " ":
            if not content.strip():  # white space that goes or comes must be seen
                shown = shown.translate({10: "⏎", 9: "→", 32: "·"})
            if marks:
                shown = f"[-{shown}-]" if kind == "-" else f"{{+{shown}+}}"
        elif len(shown) > 2 * AROUND:
            shown = (shown[:AROUND] if position else "") + " … " + shown[-AROUND:]
        text.append(shown, style=style)
    return text if text else Text("(changed further on)")


def _changes(before: str, after: str) -> Iterator[tuple[str, str]]:
    """(" ", kept), ("-", removed), ("+", added) from around the first change on."""
    common = _common(before, after)
    start = max(0, common - AROUND)
    start = before.find(" ", start, common) + 1 if start else 0
    old = _PIECE.findall(before[start : start + DIFFED])
    new = _PIECE.findall(after[start : start + DIFFED])
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield " ", "".join(old[i:j])
        else:
            yield from (
                (s, p) for s, p in (("-", "".join(old[i:j])), ("+", "".join(new[k:m]))) if p
            )


def _common(before: str, after: str) -> int:
    """How many characters the two begin with alike."""
    pairs = zip(before, after, strict=False)
    shortest = min(len(before), len(after))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), shortest)


def _table(cleaner: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="what each step did", title_justify="left")
    table.add_column("step", overflow="fold")
    for column in ("in", "changed", "dropped", "bytes in", "bytes out"):
        table.add_column(column, justify="right")
    table.add_column("dropped because", overflow="fold")
    for counts in cleaner.counts:
        figures = (
            counts.documents_in,
            counts.documents_changed,
            counts.documents_dropped,
            counts.bytes_in,
            counts.bytes_out,
        )
        because = ", ".join(f"{reason}: {n:,}" for reason, n in counts.reasons.items())
        table.add_row(*map(Text, (safe(counts.name), *(f"{n:,}" for n in figures), safe(because))))
    return table


def _panel(body: Any, title: str) -> Any:
    """Text of strangers, with nothing in it obeyed: neither markup nor control characters."""
    from rich.panel import Panel
    from rich.text import Text

    return Panel(body, title=Text(_visible(title)), title_align="left")


def _cut(text: str, most: int = SHOWN) -> str:
    return text[:most] + ("…" if len(text) > most else "")


def _visible(text: str) -> str:
    from lm_research.config.visible import visible

    return visible(text, keep="\n\t")
