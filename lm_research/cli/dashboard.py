"""``lm-research dashboard sweep=NAME``: the study's dashboard in W&B, as code."""

import json
from pathlib import Path
from typing import Any

from lm_research.cli.options import split_config_dir
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.plan import Plan
from lm_research.tracking.json_files import write_text

HELP = """usage: lm-research dashboard sweep=NAME [GROUP.FIELD=VALUE] ... [--output FILE] [--save]

Describes a W&B workspace for the study sweeps/NAME.yaml and prints it as JSON, with no server and
no account.

  --output FILE   write it there
  --save          save it in W&B, and a report beside it; needs `wandb login` or WANDB_API_KEY, and
                  tracking.entity=USER_OR_TEAM"""


def run(arguments: list[str]) -> int:
    """Print, write or save it."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    config_dir, rest = split_config_dir(arguments)
    output, rest = _taken(rest)
    wanted = "--save" in rest
    study = _study(compose([word for word in rest if word != "--save"], config_dir).config)
    from lm_research.tracking.wandb_dashboard import save, workspace_json

    if wanted:
        for link in save(study):
            print(link)
        return 0
    text = json.dumps(workspace_json(study), indent=2, ensure_ascii=False)
    if output is None:
        print(text)
    else:
        write_text(Path(output), text + "\n")
        print(f"dashboard: {output}")
    return 0


def _taken(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Take ``--output FILE`` out of the arguments."""
    if "--output" not in arguments:
        return None, arguments
    place = arguments.index("--output")
    if place + 1 == len(arguments):
        raise ConfigError([Problem("--output", "must be given", None, "the name of a file")])
    return arguments[place + 1], arguments[:place] + arguments[place + 2 :]


def _study(config: dict[str, Any]) -> Any:
    """What the dashboard is of, from the study's composed configuration."""
    from lm_research.analysis.panels import field, study_sections
    from lm_research.tracking.wandb_dashboard import Study

    sweep, tracking = config.get("sweep"), config["tracking"]
    if not sweep:
        problem = Problem("sweep", "must be given", None, "sweep=NAME of a file in sweeps/")
        raise ConfigError([problem])
    searched = bool(sweep.get("tune"))
    axes = sweep.get("axes") or (list(sweep["tune"]["space"]) if searched else Plan.of(sweep).axes)
    return Study(
        name=tracking.get("group") or sweep["name"],
        title=sweep["title"],
        question=" ".join(str(sweep.get("question") or "").split()),
        project=tracking["project"],
        entity=tracking.get("entity") or "",
        sections=study_sections(sweep["metric"], axes, list(config["evaluate_on"]), searched),
        grouped=() if searched else [field(axis) for axis in axes],
    )
