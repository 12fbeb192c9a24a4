"""What a report says around its numbers: key figures, data cards, machine, versions, commands."""

import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lm_research.analysis.metric import compact
from lm_research.analysis.runs import Run, number
from lm_research.analysis.settings import FREE_CHOICES, value_of
from lm_research.analysis.study import Study, once
from lm_research.config.choices import mapping

SOURCES_SHOWN = 6
_CARD = ("name", "language", "category", "licence", "citation")
_PLATFORM = (
    ("Python", "python"), ("system", "platform"), ("processor", "cpu"), ("GPU", "gpus"),
    ("PyTorch", "torch"),
)  # fmt: skip


def data_facts(study: Study, source: str) -> dict[str, str]:
    """A data card: label -> text, of what the runs of ``source`` recorded."""
    run = next(r for s in study.settings if s.source == source for r in s.runs)
    config, data = mapping(run.config.get("data")), run.data
    facts = {"source": source}
    for field in _CARD:
        value = config.get(field) or data.get(field)
        if value and not (field == "name" and value == source):
            facts[field] = str(value)
    splits = mapping(data.get("splits"))
    for field in ("documents", "bytes", "tokens"):
        value = {name: mapping(split).get(field) for name, split in splits.items()}
        if value or field in data:
            facts[field] = _sizes(value or data[field], field == "bytes")
    facts |= _left_out(mapping(data.get("left_out")) or data)
    if mapping(data.get("achieved")):
        facts["achieved"] = _sizes(data["achieved"])
    if data.get("fingerprint"):
        facts["fingerprint"] = str(data["fingerprint"])[:16]
    return facts


def _left_out(report: Mapping[str, Any]) -> dict[str, str]:
    """What never reached the model: skipped by the source, changed or dropped by a rule, cut."""
    facts = {}
    for field in ("skipped", "selection"):
        if mapping(report.get(field)):
            facts[field] = _sizes(report[field])
    rules = report.get("cleaning")
    if isinstance(rules, Mapping):
        facts["cleaning"] = _sizes(rules)
    elif isinstance(rules, list) and rules:
        facts["cleaning"] = ", ".join(_rule(mapping(rule)) for rule in rules)
    return facts


def _rule(rule: Mapping[str, Any]) -> str:
    changed, dropped = rule.get("documents_changed") or 0, rule.get("documents_dropped") or 0
    counts = [f"{n} {what}" for n, what in ((changed, "changed"), (dropped, "dropped")) if n]
    if counts and (reasons := mapping(rule.get("reasons"))):
        counts[-1] += f": {_sizes(reasons)}"
    return f"{rule.get('name', 'rule')} ({', '.join(counts) or 'nothing to do'})"


def _sizes(value: Any, as_bytes: bool = False) -> str:
    """A count, or counts by name: "train 1,000,000, validation 120,000"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_sizes(item, as_bytes)}" for key, item in value.items())
    count = number(value)
    if count is None:
        return str(value)
    if as_bytes and count >= 1e5:
        return f"{count / 1e6:.3g} MB"
    return f"{count:,.0f}" if count == int(count) else f"{count:.3g}"


def key_numbers(study: Study) -> list[tuple[str, str, str]]:
    """(number, what it is, detail): the best of each source, then the size of the study."""
    metric = study.metric
    found = [
        (
            metric.text(w.estimate.mean),
            f"best {metric.label} on {w.source}",
            " ".join(filter(None, (metric.plus_minus(w.estimate.half_width), w.best.label))),
        )
        for w in study.winners[:SOURCES_SHOWN]
    ]
    done = sum(len(setting.runs) for setting in study.settings)
    others = len(study.unfinished)
    detail = f"{others} failed or unfinished" if others else "none failed"
    found.append((str(done), "finished runs" if done != 1 else "finished run", detail))
    seeds = study.seeds
    listed = ", ".join(map(str, seeds[:8])) + (", …" if len(seeds) > 8 else "")
    found.append((str(len(study.settings)), "settings", f"seeds {listed}"))
    seconds = [s for run in study.runs if (s := run.seconds()) is not None]
    if seconds:
        found.append((duration(sum(seconds)), "of training in all", _tokens(study)))
    return found


def _tokens(study: Study) -> str:
    counts = [r.tokens for s in study.settings for r in s.runs if r.tokens is not None]
    if not counts:
        return ""
    low, high = compact(min(counts)), compact(max(counts))
    return f"{low if low == high else f'{low} to {high}'} tokens a run"


def duration(seconds: float) -> str:
    """ "48 s", "4 min 20 s", "3 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def fixed_choices(study: Study) -> dict[str, str]:
    """Configuration groups that all finished runs share: what the study held fixed."""
    runs = [run for setting in study.settings for run in setting.runs]
    groups = dict.fromkeys(group for run in runs for group in run.choices)
    found = {}
    for group in groups:
        values = {value_of(run, group) for run in runs}
        if group not in FREE_CHOICES and group not in study.axes and len(values) == 1:
            found[group] = values.pop()
    return found


@once
def environment_facts(study: Study) -> list[tuple[str, str]]:
    """(label, values): machine, versions and git state, all different values listed."""
    runs = [run for setting in study.settings for run in setting.runs] or list(study.runs)
    facts = [(label, _distinct(r.environment.get(key) for r in runs)) for label, key in _PLATFORM]
    facts.append(("versions", _versions(runs)))
    states = _objects(r.environment.get("git") or r.environment.get("package_git") for r in runs)
    facts.append(("git commit", _distinct(map(_commit, states))))
    finished = max((str(run.status.get("finished") or "") for run in runs), default="")
    facts.append(("last run finished", finished))
    return [(label, text) for label, text in facts if text]


def _versions(runs: Iterable[Run]) -> str:
    found: dict[str, list[Any]] = {}
    parts = (run.environment.get(key) for run in runs for key in ("versions", "packages"))
    for part in _objects(parts):
        for name, version in mapping(part).items():
            found.setdefault(str(name), []).append(version)
    return ", ".join(f"{name} {_distinct(versions)}" for name, versions in found.items())


def _commit(git: Any) -> str | None:
    if not isinstance(git, Mapping):
        return str(git) if git else None
    if not git.get("commit"):
        return None
    return f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}"


def _distinct(values: Iterable[Any]) -> str:
    there = (value for value in _objects(values) if value not in (None, "", [], {}))
    return " / ".join(dict.fromkeys(map(_plain, there)))


def _objects(values: Iterable[Any]) -> list[Any]:
    """Each object once, in order: thousands of runs of a ledger share a few."""
    return list({id(value): value for value in values}.values())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v not in (None, ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@once
def commands(study: Study) -> list[str]:
    """The different commands that the runs recorded, in order, as one types them.

    Where none was recorded, the options that rebuild each run.
    """
    recorded = [_command(run.environment.get("command")) for run in study.runs]
    lines = [line for line in recorded if line] or [options_of(run) for run in study.runs]
    return list(dict.fromkeys(lines))


def _command(recorded: Any) -> str:
    """A recorded command; a worker process's own (python -c, a file of joblib's) tells nothing."""
    if isinstance(recorded, list):
        words = [str(word) for word in recorded]
        if not words or "lm" not in Path(words[0]).name:
            return ""
        return " ".join(map(_quoted, [Path(words[0]).name, *words[1:]]))
    return str(recorded or "")


@lru_cache(maxsize=4096)
def _quoted(word: str) -> str:
    """A word as :func:`shlex.join` has it: the commands of a study differ in a few."""
    return shlex.quote(word)


def options_of(run: Run) -> str:
    """The options and the seed that rebuild a run, but for fields overridden one by one."""
    chosen = [f"{group}={option}" for group, option in run.choices.items()]
    return shlex.join(["lm-research", "train", *chosen, f"seed={run.seed}"])


def last_samples(runs: Iterable[Run], most: int = 2) -> tuple[Run, list[Mapping[str, Any]]] | None:
    """The samples of the last step of the first run that has any, at most ``most``."""
    for run in runs:
        texts = [sample for sample in run.samples if isinstance(sample.get("text"), str)]
        if texts:
            step = texts[-1].get("step")
            return run, [sample for sample in texts if sample.get("step") == step][:most]
    return None
