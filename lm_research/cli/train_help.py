"""``lm-research train --help``, by a look at folders: what training imports takes a second."""

import textwrap

import yaml

from lm_research.config.paths import STUDIES, shipped, studies

HELP = """usage: lm-research train [GROUP=OPTION] [GROUP.FIELD=VALUE] ...

  lm-research train model=gru data=bbc_news model.hidden_size=64 seed=2
  lm-research train -m model=rnn,lstm seed=1,2      a run for every combination

groups and their options (the first is the default):
{groups}

flags:
  -m                 several runs, from values parted by commas
  --cfg job          print the configuration and its fields, and run nothing
  --config-dir DIR   options of your own, laid out like conf/: DIR/model/mine.yaml
  --hydra-help       Hydra's other flags"""


OF_EVALUATE = "protocol"
"""The group that is none of training."""


def run(arguments: list[str]) -> int:
    """Print the groups and their options."""
    chosen = {group: names for group, names in options().items() if group != OF_EVALUATE}
    print(HELP.format(groups=_listed(chosen, defaults())))
    return 0


def options() -> dict[str, set[str]]:
    """What each group of the configuration can be."""
    found: dict[str, set[str]] = {}
    for file in shipped("conf").glob("*/*.yaml"):
        found.setdefault(file.parent.name, set()).add(file.stem)
    found.pop("local", None)  # this machine's settings, which nobody chooses
    return found | {group: {name for name, _ in studies(kind)} for group, kind in STUDIES.items()}


def defaults() -> dict[str, str]:
    """What it is where nobody asks for another."""
    text = (shipped("conf") / "config.yaml").read_text(encoding="utf-8")
    listed = [entry for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, dict)]
    return {group.split()[-1]: choice for entry in listed for group, choice in entry.items()}


def _listed(known: dict[str, set[str]], chosen: dict[str, str]) -> str:
    width, lines = max(map(len, known)) + 2, []
    for group, names in sorted(known.items()):
        ordered = sorted(names, key=lambda name: (name != chosen.get(group), name))
        text = ", ".join(ordered if chosen.get(group) else ["null", *ordered])
        indent = " " * (width + 2)
        lines += textwrap.wrap(f"  {group:{width}}{text}", 80, subsequent_indent=indent)
    return "\n".join(lines)
