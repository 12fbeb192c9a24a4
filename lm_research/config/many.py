"""Many configurations that differ in little: each setting is composed once, for all its seeds."""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import OmegaConf, open_dict

from lm_research.config.compose import finalise, loader, register_studies
from lm_research.config.hydra_errors import REFUSALS, as_problem
from lm_research.config.problems import ConfigError, Problem

MOST_PROBLEMS = 10
"""A mistake in one place makes as many problems as there are settings."""


def compose_many(
    settings: Sequence[Sequence[str]], seeds: Sequence[int], config_dir: str | None = None
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Compose every setting under every seed, seed by seed.

    Args:
        settings: the overrides of each, sound one by one.
        config_dir: a folder of further options, laid out as conf/.

    Yields:
        Index of the setting, seed, finished configuration.

    Raises:
        ConfigError: with the problems of all settings, each problem once.
    """
    register_studies()
    problems: dict[str, Problem] = {}
    with loader(config_dir):
        composed = [_composed(overrides, problems) for overrides in settings]
        for seed in seeds:
            for index, cfg in enumerate(composed):
                try:
                    config = _seeded(cfg, seed) if cfg is not None else None
                except ConfigError as error:
                    problems |= {str(problem): problem for problem in error.problems}
                else:
                    if config is not None and not problems:
                        yield index, seed, config
            if problems:
                raise ConfigError(list(problems.values())[:MOST_PROBLEMS])


def _composed(overrides: Sequence[str], problems: dict[str, Problem]) -> Any:
    try:
        return hydra_compose("config", list(overrides), return_hydra_config=True)
    except REFUSALS as error:
        problem = as_problem(error)
        problems[str(problem)] = problem
        return None


def _seeded(cfg: Any, seed: int) -> dict[str, Any]:
    with open_dict(cfg):
        OmegaConf.update(cfg, "seed", seed)
    return finalise(cfg, cfg.hydra)
