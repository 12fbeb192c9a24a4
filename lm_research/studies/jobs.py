"""The runs of a study, each known by its content.

A job's identity is the hash of its finished configuration without places and ways of launching
(:func:`lm_research.tracking.run_identity.config_hash`), and its folder is named by it: what was run
already is found again whatever else the study has become, and an edited study never meets a folder
of another configuration.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm_research.config.many import compose_many
from lm_research.studies.plan import SEED, Plan, Setting
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json, write_json
from lm_research.tracking.redaction import redacted_arguments
from lm_research.tracking.run_identity import config_hash

FILE = "jobs.json"
FORMAT = 1
DIGITS = 8
"""Hex digits of the identity in a folder's name: two of 10,000 jobs agree with odds of 1 in 90."""
LONGEST_NAME = 100
_STRANGE = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Args:
        identity: 64 hex digits.
        folder: its name, in the study's folder.
        setting: what the study varies, as override key -> value.
        seed: the seed.
        overrides: of the command line, all of them; without the folder.
    """

    identity: str
    folder: str
    setting: Setting
    seed: int
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """A job and its finished configuration."""

    job: Job
    config: Mapping[str, Any]


def planned(plan: Plan, fixed: Sequence[str], config_dir: str | None = None) -> list[Planned]:
    """The jobs of a plan, seed by seed, so that a study cut short has every setting early.

    Args:
        fixed: overrides of all of them.

    Raises:
        ConfigError: a setting that makes no sound configuration, or two that are one.
    """
    settings = plan.settings()
    overrides = [[*fixed, *_texts(setting)] for setting in settings]
    found: dict[str, Planned] = {}
    for index, seed, config in compose_many(overrides, plan.seeds, config_dir):
        identity = config_hash(config)
        own = (*overrides[index], f"{SEED}={seed}")
        name = _name(settings[index], seed, identity)
        # Settings that come to the same configuration are one job: the first speaks for it.
        found.setdefault(identity, Planned(Job(identity, name, settings[index], seed, own), config))
    return list(found.values())


def _texts(setting: Setting) -> list[str]:
    return [f"{key}={value}" for key, value in setting.items()]


def _name(setting: Setting, seed: int, identity: str) -> str:
    """ "model-rnn--seed-1--1b2c3d4e": no quotes needed in a shell or on Hydra's command line."""
    pairs = [*setting.items(), (SEED, str(seed))]
    parts = [f"{key}-{value}".strip("+~") for key, value in pairs]
    text = "--".join(_STRANGE.sub("_", part).strip("_") for part in parts)
    return f"{text[:LONGEST_NAME]}--{identity[:DIGITS]}"


def write_jobs(folder: Path, jobs: Iterable[Job]) -> None:
    """Note down in ``folder`` what the study's jobs are, secrets left out."""
    kept = [{**asdict(job), "overrides": redacted_arguments(list(job.overrides))} for job in jobs]
    write_json(folder / FILE, {"format": FORMAT, "jobs": kept})


def read_jobs(folder: Path) -> list[Job]:
    """What :func:`write_jobs` noted.

    Raises:
        RunFolderError: there is no such file, it is damaged, or of a later version.
    """
    file = folder / FILE
    if not file.exists():
        raise RunFolderError(f"{folder}: no study was started here (it has no {FILE})")
    found = read_json(file)
    if found.get("format") != FORMAT:
        raise RunFolderError(f"{file}: format {found.get('format')!r}, this version reads {FORMAT}")
    try:
        return [_job(entry) for entry in found["jobs"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{file}: damaged ({error}); start the study again") from error


def _job(entry: Mapping[str, Any]) -> Job:
    name = str(entry["folder"])
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"folder {name!r} is not a name")
    setting = {str(key): str(value) for key, value in entry["setting"].items()}
    overrides = tuple(map(str, entry["overrides"]))
    return Job(str(entry["identity"]), name, setting, int(entry["seed"]), overrides)
