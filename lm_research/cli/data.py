"""``lm-research data list | show | audit``: look at sources before training on them."""

import json
import sys
from collections import Counter
from itertools import islice
from typing import Any

from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError, Problem, closest, listing

USAGE = """usage: lm-research data list
       lm-research data show data=OPTION [text=OPTION]    examples before and after cleaning
       lm-research data audit data=OPTION [text=OPTION]   sizes, splits, duplicates, omissions"""


def run(arguments: list[str]) -> int:
    """Dispatch to the action."""
    actions = {"list": _list, "show": _show, "audit": _audit}
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] not in actions:
        problem = Problem(
            arguments[0],
            "there is no such action",
            None,
            listing(actions),
            closest(arguments[0], actions),
        )
        raise ConfigError([problem])
    return actions[arguments[0]](arguments[1:])


def _list(arguments: list[str]) -> int:
    """Every data option, with whether it can be read right now."""
    import yaml
    from rich.console import Console
    from rich.table import Table

    from lm_research.config.build import build

    table = Table(title="data options", title_justify="left")
    for column in ("data=", "language", "category", "licence", "ready"):
        table.add_column(column, overflow="fold")
    for file in sorted((shipped("conf") / "data").glob("*.yaml")):
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
        table.add_row(
            file.stem, node["language"], node["category"], node["licence"], _ready(node, build)
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


def _ready(node: dict[str, Any], build: Any) -> str:
    if "???" in str(node.values()):
        return "names your data"
    if "weights" in node:
        return "mixes others"
    try:
        next(iter(build(node)))
        return "yes, no network"
    except Exception as error:
        return str(error).splitlines()[0]


def _composed(arguments: list[str]) -> dict[str, Any]:
    from lm_research.config.compose import compose

    return compose(arguments).config


def _selection(config: dict[str, Any]) -> Any:
    from lm_research.config.build import build
    from lm_research.data.preparation import Selection
    from lm_research.data.splits import Split

    budget = config["budget"]
    caps: dict[Split, int] = {
        "train": budget["train_bytes"],
        "validation": budget["eval_bytes"],
        "test": budget["eval_bytes"],
    }
    return Selection(build(config["data"]), config["text"]["cleaning"], config["splits"], caps)


def _show(arguments: list[str]) -> int:
    """A few documents, before and after cleaning, and their first tokens."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    from lm_research.config.build import build
    from lm_research.text.cleaning import Cleaner

    config = _composed(arguments)
    console = Console()
    cleaner = Cleaner(build(config["text"]["cleaning"]))
    for document in islice(build(config["data"]), 3):
        cleaned = cleaner.clean(document.text)
        console.print(
            Panel(Text(document.text[:600]), title=f"{document.id} (label: {document.label})")
        )
        if cleaned is None:
            console.print("dropped by cleaning")
        elif cleaned != document.text:
            console.print(Panel(Text(cleaned[:600]), title="after cleaning"))
    console.print(json.dumps(cleaner.report(), indent=1))
    return 0


def _audit(arguments: list[str]) -> int:
    """Read the whole source once and count."""
    from rich.console import Console

    config = _composed(arguments)
    report = audit(_selection(config))
    Console().print_json(json.dumps(report))
    return 0


def audit(selection: Any) -> dict[str, Any]:
    """Documents, bytes and exact duplicates per split, texts in two splits, what was left out."""
    splits: dict[str, Counter[str]] = {}
    where: dict[int, set[str]] = {}
    repeated = 0
    for split, document in selection:
        counts = splits.setdefault(split, Counter())
        counts["documents"] += 1
        counts["bytes"] += len(document.text.encode("utf-8", "replace"))
        seen = where.setdefault(hash(document.text), set())
        repeated += bool(seen)
        seen.add(split)
    source = selection.source
    return {
        "source": {
            k: getattr(source, k) for k in ("name", "language", "category", "licence", "citation")
        },
        "splits": {name: dict(counts) for name, counts in splits.items()},
        "exact_duplicates": repeated,
        "texts_in_two_splits": sum(len(s) > 1 for s in where.values()),
        "left_out": selection.report(),
    }
