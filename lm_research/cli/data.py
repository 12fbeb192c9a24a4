"""``lm-research data list | show | audit | contamination``: look at sources first."""

import json
import sys
from collections import Counter
from itertools import islice
from typing import Any

from lm_research.cli.options import split_config_dir
from lm_research.cli.tell import safe, tell
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError, Problem, closest, listing

USAGE = """usage: lm-research data list
       lm-research data show data=OPTION [text=OPTION]    examples before and after cleaning
       lm-research data audit data=OPTION [text=OPTION]   sizes, splits, duplicates, omissions
       lm-research data audit data=OPTION[,OPTION,...] output=FOLDER
                                                          all there is to say, as JSON and a page
       lm-research data contamination train=[OPTION,...] evaluate=[OPTION,...] [output=FOLDER]
                                                          what evaluation shares with training

--config-dir DIR adds options of your own, laid out like conf/: DIR/data/mine.yaml."""

SHOWN = 600
"""Characters of a document that are shown."""


def run(arguments: list[str]) -> int:
    """Dispatch to the action."""
    actions = {"list": _list, "show": _show, "audit": _audit, "contamination": _contamination}
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
    from rich.text import Text

    from lm_research.config.build import build

    table = Table(title="data options", title_justify="left")
    for column in ("data=", "language", "category", "licence", "ready"):
        table.add_column(column, overflow="fold")
    for file in sorted((shipped("conf") / "data").glob("*.yaml")):
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
        card = (node["language"], node["category"], node["licence"], _ready(node, build))
        table.add_row(*(Text(safe(text)) for text in (file.stem, *card)))
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

    config_dir, overrides = split_config_dir(arguments)
    return compose(overrides, config_dir).config


def whole(config: dict[str, Any]) -> Any:
    """The whole source: a budget's caps would hide what it holds."""
    from lm_research.config.build import build
    from lm_research.data.preparation import Selection
    from lm_research.data.splits import SPLITS

    caps = dict.fromkeys(SPLITS, sys.maxsize)
    return Selection(build(config["data"]), config["text"]["cleaning"], config["splits"], caps)


def _show(arguments: list[str]) -> int:
    """A few documents, before and after cleaning."""
    from rich.console import Console

    from lm_research.config.build import build
    from lm_research.text.cleaning import Cleaner

    config = _composed(arguments)
    console = Console()
    cleaner = Cleaner(build(config["text"]["cleaning"]))
    for document in islice(build(config["data"]), 3):
        cleaned = cleaner.clean(document.text)
        label = "" if document.label is None else f" (label: {document.label})"
        console.print(_panel(document.text, f"{document.id}{label}"))
        if cleaned is None:
            console.print("dropped by cleaning")
        elif cleaned != document.text:
            console.print(_panel(cleaned, "after cleaning"))
    for rule in cleaner.report():
        changed, dropped = rule["documents_changed"], rule["documents_dropped"]
        line = safe(f"{rule['name']}: {changed} changed, {dropped} dropped")
        console.print(line, markup=False)
    return 0


def _panel(text: str, title: str) -> Any:
    """Text of strangers, with nothing in it obeyed: neither markup nor control characters."""
    from rich.panel import Panel
    from rich.text import Text

    from lm_research.config.visible import visible

    shown = text[:SHOWN] + ("…" if len(text) > SHOWN else "")
    return Panel(Text(visible(shown, keep="\n\t")), title=Text(visible(title)))


def _audit(arguments: list[str]) -> int:
    """Read the whole source once and count; more with ``output=FOLDER`` or several sources."""
    from rich.console import Console

    from lm_research.cli.data_audit import more_is_asked, run

    if more_is_asked(arguments):
        return run(arguments)
    config = _composed(arguments)
    report = audit(whole(config))
    Console().print_json(json.dumps(report), ensure_ascii=True)
    if report["texts_in_two_splits"]:
        tell(f"{report['texts_in_two_splits']:,} texts are in two splits; output=FOLDER says which")
    return 0


def _contamination(arguments: list[str]) -> int:
    from lm_research.cli.data_contamination import run

    return run(arguments)


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
