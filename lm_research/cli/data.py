"""``lm-research data ACTION``: look at sources before training on them, and mix them."""

import json
import sys
from collections import Counter
from typing import Any

from lm_research.cli.data_build import build_store
from lm_research.cli.data_fetch import fetch, readiness
from lm_research.cli.data_show import show
from lm_research.cli.options import split_config_dir
from lm_research.cli.tell import safe, tell
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError, Problem, closest, listing

USAGE = """usage: lm-research data list
       lm-research data show data=OPTION [text=OPTION]    what each step of the cleaning did
                             [documents=200] [examples=2]
       lm-research data audit data=OPTION [text=OPTION]   sizes, splits, duplicates, omissions
       lm-research data fetch data=OPTION                 download public corpora ahead of training
       lm-research data fetch vectors=glove_6b_50d        word vectors (or 100d, 200d, 300d)
       lm-research data mix sweep=NAME|runs=FOLDER        fit losses to shares, propose a mixture
       lm-research data audit data=OPTION[,OPTION,...] output=FOLDER
                                                          all there is to say, as JSON and a page
       lm-research data build data=OPTION [text=OPTION] [budget=OPTION] [prepare_workers=N]
                                                          its tokens, ahead of training
       lm-research data contamination train=[OPTION,...] evaluate=[OPTION,...] [output=FOLDER]
                                                          what evaluation shares with training

--config-dir DIR adds options of your own, laid out like conf/: DIR/data/mine.yaml."""


def run(arguments: list[str]) -> int:
    """Dispatch to the action."""
    actions = {
        "list": _list,
        "show": show,
        "audit": _audit,
        "build": build_store,
        "contamination": _contamination,
        "fetch": fetch,
        "mix": _mix,
    }
    if not arguments or (arguments[0] != "mix" and {"-h", "--help"} & set(arguments)):
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


def _mix(arguments: list[str]) -> int:
    """What runs on mixtures say about the next one."""
    from lm_research.cli import data_mix

    return data_mix.run(arguments)


def _list(arguments: list[str]) -> int:
    """Every data option, with whether it can be read right now."""
    import yaml
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lm_research.config.build import build

    downloads = _composed(arguments)["downloads"]
    table = Table(title="data options", title_justify="left")
    for column in ("data=", "language", "category", "licence", "ready"):
        table.add_column(column, overflow="fold")
    for file in sorted((shipped("conf") / "data").glob("*.yaml")):
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "downloads" in node:
            node["downloads"] = downloads
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
        source = build(node)
        if "downloads" in node:
            return readiness(source)
        next(iter(source))
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
    from lm_research.data.selection import Selection
    from lm_research.data.splits import SPLITS

    caps = dict.fromkeys(SPLITS, sys.maxsize)
    return Selection(build(config["data"]), config["text"]["cleaning"], config["splits"], caps)


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
