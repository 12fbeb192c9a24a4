"""Protocols of evaluation (conf/protocol), as the command line and experiments name them."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_research.config.problems import ConfigError, Problem

GROUP = "protocol"


def protocol_node(overrides: Sequence[str], config_dir: str | None) -> dict[str, Any] | None:
    """The node that ``protocol=OPTION protocol.FIELD=VALUE`` mean; None where there are none.

    Raises:
        ConfigError: with every problem.
    """
    own = [text for text in overrides if text.lstrip("+~").startswith(GROUP)]
    if not own:
        return None
    from lm_research.config.compose import compose_option

    return compose_option(GROUP, own, config_dir)


def reading(node: Mapping[str, Any] | None, saved: Any) -> Any:
    """What reads the text that a run is scored on: its model, or that by a protocol.

    Args:
        node: of the protocol; None: the weights as they are, and nothing learned.
        saved: the run (:class:`lm_research.cli.saved.SavedRun`).

    Raises:
        ConfigError: the run is no language model.
        ProtocolError: its language model does not go with the protocol.
    """
    if node is None:
        return saved.model
    from lm_research.cli.assembly import prepare_text
    from lm_research.config.build import build
    from lm_research.tasks.protocols.protocol import Protocol

    protocol: Protocol = build(node)
    trained = {"tokenizer": saved.tokenizer.state_dict()}
    return protocol.reader(
        saved.model,
        lambda: prepare_text(saved.config, trained=trained, whole=True).store.split("train"),
    )


def require_language_model(node: Mapping[str, Any] | None, config: Mapping[str, Any]) -> None:
    """Refuse a protocol for a run of another task, before its text is prepared."""
    from lm_research.config.task_rules import LANGUAGE_MODELING

    task = config["task"]["_target_"]
    if node is not None and task != LANGUAGE_MODELING:
        message = "is how a language model reads, and the run is none"
        name = f"task: {task.rpartition('.')[2]}"
        raise ConfigError([Problem(GROUP, message, name, "a run of task=language_modeling")])
