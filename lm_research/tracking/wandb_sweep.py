"""A study as a W&B sweep: the same parameters, handed out to agents by W&B's server.

Each agent runs ``lm-research train`` with what it was handed. A run that an agent starts takes the
id that W&B gave it, so that its folder, its mirror and ``lm-research sync`` speak of one run.
"""

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lm_research.tracking.wandb_sdk import end_bounded, environment_kept, require_credentials


def wandb_sweep(
    name: str,
    parameters: Mapping[str, Sequence[str]],
    fixed: Sequence[str],
    metric: str,
    goal: Literal["minimize", "maximize"],
    verb: str = "sweep",
) -> dict[str, Any]:
    """The configuration of a W&B grid sweep.

    Args:
        name: shown in W&B.
        parameters: Hydra key -> its values, as one types them.
        fixed: Hydra overrides and flags that all runs share.
        metric: name in the runs' summaries, such as ``val/bits_per_byte``.
        goal: its direction.
        verb: of lm-research, which an agent calls.

    Raises:
        ValueError: a key without values, nothing to vary, or another ``goal``.
    """
    empty = [key for key, values in parameters.items() if not values]
    if empty or not parameters:
        raise ValueError(
            f"parameters of sweep {name!r}: {', '.join(empty) or 'all'} without values"
        )
    if goal not in ("minimize", "maximize"):
        raise ValueError(f"goal={goal!r}: use 'minimize' or 'maximize'")
    return {
        "name": name,
        "method": "grid",
        "metric": {"name": metric, "goal": goal},
        "parameters": {
            key: {"values": [_number(value) for value in values]}
            for key, values in parameters.items()
        },
        "program": "lm-research",
        "command": [
            "${env}", "${program}", verb, *fixed, "tracking=online", "${args_no_hyphens}",
        ],
    }  # fmt: skip


def create_wandb_sweep(
    config: Mapping[str, Any], project: str = "lm_research", entity: str | None = None
) -> str:
    """Make the sweep in W&B.

    Returns:
        ENTITY/PROJECT/ID, which ``wandb agent`` takes.

    Raises:
        RuntimeError: no API key is there.
        wandb.Error: the server is not there, or refuses it.
    """
    with environment_kept():
        import wandb

        require_credentials(wandb)
        end_bounded()
        owner = entity or str(wandb.Api().default_entity)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints; who calls says more
            identity = wandb.sweep(dict(config), entity=owner, project=project)
    return f"{owner}/{project}/{identity}"


def agents_run_id() -> str | None:
    """The id that W&B has given to the run of this process, where an agent has started it."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def _number(text: str) -> int | float | str:
    """A number where typing it out gives the same text again: W&B sorts and plots those."""
    for kind in (int, float):
        try:
            if str(kind(text)) == text and text not in ("nan", "inf", "-inf"):
                return kind(text)
        except ValueError:
            continue
    return text
