"""What a report says around its numbers: key figures, data cards, machine, versions, commands."""

from collections.abc import Iterable, Mapping
from typing import Any

from lm_research.analysis.metric import compact
from lm_research.analysis.runs import Run, mapping, number
from lm_research.analysis.settings import FREE_CHOICES, value_of
from lm_research.analysis.study import Study

_CARD = ("name", "language", "category", "licence", "citation")
_PLATFORM = (
    ("Python", "python"), ("PyTorch", "torch"), ("system", "platform"), ("processor", "cpu"),
    ("GPU", "gpu"),
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
    for field in ("documents", "bytes", "tokens"):
        if field in data:
            facts[field] = _sizes(data[field], field == "bytes")
    for head, field in (("cleaned", "cleaning"), ("skipped", "skipped")):
        if mapping(data.get(field)):
            facts[head] = _sizes(data[field], False)
    if data.get("fingerprint"):
        facts["fingerprint"] = str(data["fingerprint"])[:40]
    return facts


def _sizes(value: Any, as_bytes: bool) -> str:
    """A count, or counts by split: "train 1.0M, validation 120k"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_sizes(item, as_bytes)}" for key, item in value.items())
    count = number(value)
    if count is None:
        return str(value)
    return f"{count / 1e6:.3g} MB" if as_bytes and count >= 1e5 else f"{count:,.0f}"


def key_numbers(study: Study) -> list[tuple[str, str, str]]:
    """(number, what it is, detail): the best of each source, then the size of the study."""
    metric = study.metric
    found = [
        (
            metric.text(w.estimate.mean),
            f"best {metric.label} on {w.source}",
            " ".join(filter(None, (metric.plus_minus(w.estimate.half_width), w.best.label))),
        )
        for w in study.winners
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
    counts = [
        max(found)
        for s in study.settings
        for r in s.runs
        if (found := [n for row in r.curve if (n := number(row.get("tokens"))) is not None])
    ]
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


def environment_facts(study: Study) -> list[tuple[str, str]]:
    """(label, values): machine, versions and git state, all different values listed."""
    runs = [run for setting in study.settings for run in setting.runs] or list(study.runs)
    facts = [
        (label, _distinct(run.environment.get(key) for run in runs)) for label, key in _PLATFORM
    ]
    facts.append(("git commit", _distinct(map(_commit, runs))))
    names = dict.fromkeys(n for r in runs for n in mapping(r.environment.get("packages")))
    packages = [
        f"{name} {_distinct(mapping(r.environment.get('packages')).get(name) for r in runs)}"
        for name in names
    ]
    facts.append(("packages", ", ".join(packages)))
    facts.append(
        ("last run finished", max((str(r.status.get("finished") or "") for r in runs), default=""))
    )
    return [(label, text) for label, text in facts if text]


def _commit(run: Run) -> str | None:
    git = run.environment.get("git")
    if not isinstance(git, Mapping):
        return str(git) if git else None
    if not git.get("commit"):
        return None
    return f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}"


def _distinct(values: Iterable[Any]) -> str:
    return " / ".join(dict.fromkeys(_plain(v) for v in values if v not in (None, "", [], {})))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v not in (None, ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def commands(study: Study) -> list[str]:
    """The different commands that the runs recorded, in order."""
    found = (run.environment.get("command") for run in study.runs)
    lines = (" ".join(map(str, c)) if isinstance(c, list) else str(c) for c in found if c)
    return list(dict.fromkeys(lines))


def chosen_sample(setting_runs: Iterable[Run]) -> tuple[Run, Mapping[str, Any]] | None:
    """The last sample of the first run that has one."""
    for run in setting_runs:
        texts = [sample for sample in run.samples if isinstance(sample.get("text"), str)]
        if texts:
            return run, texts[-1]
    return None
