"""The space of a search, as Optuna has it, and the search's state on disk."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.plan import Setting, override_text

FILE = "tune.sqlite3"
FORMS = "a list of values, {low: 1, high: 8, step: 1}, or {low: 0.001, high: 0.1, log: true}"
_KEYS = {"low", "high", "step", "log"}


class TuneError(Exception):
    """A search that cannot be done; says why."""


def dimensions(space: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's distribution of each key.

    Values of a list are kept as the text of overrides: Optuna stores scalars alone.

    Raises:
        ConfigError: an entry that is none of :data:`FORMS`; all of them at once.
        TuneError: Optuna is not installed.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, entry in space.items():
        try:
            found[key] = _distribution(entry)
        except (ValueError, TypeError) as error:
            problems.append(Problem(f"sweep.tune.space.{key}", str(error), str(entry), FORMS))
    if problems or not found:
        raise ConfigError(problems or [Problem("sweep.tune.space", "is empty", "{}", FORMS)])
    return found


def optuna() -> Any:
    """The library, or how to get it."""
    try:
        import optuna
    except ImportError:
        raise TuneError("needs Optuna: pip install 'lm-research[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(entry: Any) -> Any:
    kinds = optuna().distributions
    if isinstance(entry, list) and entry:
        return kinds.CategoricalDistribution([override_text(value) for value in entry])
    if not isinstance(entry, Mapping) or not {"low", "high"} <= set(entry) <= _KEYS:
        raise ValueError("is no dimension")
    low, high, step, log = (entry.get(key) for key in ("low", "high", "step", "log"))
    if all(isinstance(value, int) for value in (low, high, step or 1)):
        return kinds.IntDistribution(low, high, log=bool(log), step=step or 1)
    return kinds.FloatDistribution(low, high, log=bool(log), step=step)


DIGITS = 4
"""Of a number that was drawn: 0.002047 says as much as 0.00204722352812965, and can be read."""


def setting_of(params: Mapping[str, Any]) -> Setting:
    """A trial's parameters as overrides; drawn numbers to :data:`DIGITS` digits."""
    return {key: value if isinstance(value, str) else _text(value) for key, value in params.items()}


def _text(value: Any) -> str:
    return override_text(float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value)


def open_search(folder: Path, node: Mapping[str, Any], seed: int) -> Any:
    """The Optuna study in ``folder``, made or gone on with."""
    library, tune = optuna(), node["tune"]
    samplers, pruners = library.samplers, library.pruners
    startup = tune.get("startup_trials", 5)
    sampler = (
        samplers.RandomSampler(seed)
        if tune.get("sampler") == "random"
        else samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)
    )
    pruner = (
        pruners.NopPruner()
        if tune.get("pruner") == "none"
        else pruners.MedianPruner(n_startup_trials=startup)
    )
    return library.create_study(
        storage=f"sqlite:///{(folder / FILE).absolute()}", study_name=node["name"],
        direction=node["direction"], sampler=sampler, pruner=pruner, load_if_exists=True,
    )  # fmt: skip


def queue_again(search: Any) -> int:
    """Queue the trials again that were under way when their command ended; how many.

    Their parameters name the same jobs, whose runs go on from where they are.
    """
    library = optuna()
    left = list(_under_way(search))
    for trial in left:
        search.tell(trial.number, state=library.trial.TrialState.FAIL)
        search.enqueue_trial(trial.params)
    return len(left)


def _under_way(search: Any) -> Iterator[Any]:
    running = optuna().trial.TrialState.RUNNING
    return (trial for trial in search.get_trials(deepcopy=False) if trial.state == running)
