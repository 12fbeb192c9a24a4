"""``lm-research sweep sweep=NAME --backend wandb``: the same study, handed to W&B's agents.

A grid of W&B's knows neither rows that belong together nor exclusions, so what its agents are given
is the list of the study's jobs, by the names of their folders. Each agent runs a job as the study
itself would, in the same folder: a study may be begun here and gone on with there.
"""

import json
from collections.abc import Sequence

from lm_research.cli.sweep import Study
from lm_research.tracking.wandb_sweep import create_wandb_sweep, wandb_sweep


def hand_over(study: Study, arguments: Sequence[str], dry: bool) -> int:
    """Make the sweep in W&B and say how to start its agents; ``dry``: print it instead."""
    name = str(study.node["name"])
    jobs = [one.job.folder for one in study.planned]
    shared = [text for text in arguments if not text.startswith("tracking=")]
    sweep = wandb_sweep(name, {"job": jobs}, shared, study.node["metric"], study.node["direction"])
    if dry:
        print(json.dumps(sweep, indent=2))
        return 0
    tracking = study.planned[0].config["tracking"]
    identity = create_wandb_sweep(sweep, tracking["project"], tracking.get("entity"))
    print(f"{len(jobs)} jobs. On each machine that shall work on them:\n  wandb agent {identity}")
    return 0
