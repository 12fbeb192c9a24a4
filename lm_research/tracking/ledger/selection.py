"""Which runs of a ledger, in which order; and one run, by its folder or a prefix of its names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import Run, load_run
from lm_research.analysis.settings import flatten
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.untrusted import UntrustedError, load_yaml
from lm_research.tracking.ledger.ledger import Ledger
from lm_research.tracking.ledger.recording import state_of
from lm_research.tracking.ledger.schema import RUNS

STATES = ("queued", "running", "stale", "interrupted", "failed", "done", "unknown")
_NAMES_SHOWN = 40


def chosen(
    ledger: Ledger,
    fields: Mapping[str, str],
    states: Sequence[str] = (),
    sort: str | None = None,
) -> Select:
    """A query for the ids of runs.

    Args:
        ledger: the runs.
        fields: option group or dotted configuration field -> value, or several after commas.
        states: those wanted, of :data:`STATES`; all, if none is named.
        sort: a metric, the best first and runs without it last; by default the newest come first.

    Raises:
        ConfigError: a field, state or metric that no run has; says what there is.
    """
    problems = [*_unknown_fields(ledger, fields), *_unknown_states(states)]
    if sort is not None and not _any(ledger, func.json_type(RUNS.c.summary, _path([sort]))):
        metrics = sorted({name for run in ledger.runs() for name in run.summary})
        problems.append(_unknown("sort", sort, "no run recorded that metric", metrics))
    if problems:
        raise ConfigError(problems)
    wanted = [_matches(name, value) for name, value in fields.items()]
    if states:
        wanted.append(RUNS.c.state.in_(states))
    return select(RUNS.c.id).where(and_(True, *wanted)).order_by(*_order(sort))


def _order(sort: str | None) -> list[ColumnElement]:
    if sort is None:
        return [RUNS.c.created.desc(), RUNS.c.id.desc()]
    value = func.json_extract(RUNS.c.summary, _path([sort]))
    best = value if Metric.named(sort).lower_is_better else value.desc()
    return [value.is_(None), best, RUNS.c.id]


def _path(parts: Sequence[str]) -> str:
    """SQLite's path to a nested value."""
    return "$" + "".join(f"[{part}]" if part.isdecimal() else f'."{part}"' for part in parts)


def _kinds(name: str) -> tuple[ColumnElement, ColumnElement]:
    """The JSON type of a field as an option group, and as a configuration field."""
    path = _path(name.split("."))
    return func.json_type(RUNS.c.choices, _path([name])), func.json_type(RUNS.c.config, path)


def _any(ledger: Ledger, *kinds: ColumnElement) -> bool:
    query = select(RUNS.c.id).where(or_(*(kind.is_not(None) for kind in kinds))).limit(1)
    with ledger.engine.connect() as connection:
        return connection.execute(query).first() is not None


def _unknown_fields(ledger: Ledger, fields: Mapping[str, str]) -> list[Problem]:
    missing = [n for n in fields if '"' in n or not n or not _any(ledger, *_kinds(n))]
    if not missing:
        return []
    runs = ledger.runs()
    names = {name for run in runs for name in (*run.choices, *flatten(run.config))}
    said = "no run has that field"
    return [_unknown(name, fields[name], said, sorted(names)) for name in missing]


def _unknown_states(states: Sequence[str]) -> list[Problem]:
    said = "there is no such state"
    return [_unknown("state", s, said, STATES) for s in states if s not in STATES]


def _unknown(field: str, value: str, said: str, names: Sequence[str]) -> Problem:
    wrong = value if field in ("sort", "state") else field
    near = closest(wrong, names)
    shown = listing(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return Problem(field, said, value, shown + more, near)


def _matches(name: str, values: str) -> ColumnElement:
    """A field has one of the values, as typed: numbers by value, all else by its text."""
    group, field = _kinds(name)
    option = func.json_extract(RUNS.c.choices, _path([name]))
    found = func.json_extract(RUNS.c.config, _path(name.split(".")))
    single = values.startswith(("[", "{")) or "," not in values
    typed = [values] if single else [value.strip() for value in values.split(",")]
    in_config = or_(*(_equals(found, field, value) for value in typed))
    return or_(and_(group.is_not(None), option.in_(typed)), and_(group.is_(None), in_config))


def _equals(found: ColumnElement, kind: ColumnElement, typed: str) -> ColumnElement:
    try:
        value = load_yaml(typed)
    except UntrustedError:
        value = typed
    if value is None or isinstance(value, bool):
        return kind == json.dumps(value)
    if isinstance(value, int | float):
        return and_(found == value, kind.in_(["integer", "real"]))
    if isinstance(value, list | dict):
        return found == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return found == typed


def find_run(name: str, ledger: Ledger | None) -> Run:
    """One run.

    Args:
        name: its folder, or what its id or its folder's name begins with.
        ledger: where to look for such a beginning; ``None``: there are no runs to look among.

    Raises:
        RunNotFoundError: no run, or several; says which come close.
    """
    if Path(name).expanduser().is_dir():
        run = load_run(Path(name).expanduser())
        return replace(run, status={**run.status, "state": state_of(run.state, run.folder)})
    if ledger is None:
        raise RunNotFoundError(f"{name}: no such folder, and no folder of runs to look in")
    for column in (lambda c: c == name, lambda c: c.startswith(name, autoescape=True)):
        wanted = or_(*(column(c) for c in (RUNS.c.run_id, RUNS.c.name, RUNS.c.folder)))
        found = ledger.runs(select(RUNS.c.id).where(wanted).order_by(RUNS.c.folder).limit(6))
        if len(found) == 1:
            return found[0]
        if found:
            listed = "".join(f"\n  {run.id}  {run.folder}" for run in found[:5])
            more = "\n  and more" if len(found) > 5 else ""
            raise RunNotFoundError(
                f"{name}: several runs of {ledger.root} begin so:{listed}{more}\n"
                "Give more of the id, or the folder."
            )
    raise RunNotFoundError(_not_found(name, ledger))


class RunNotFoundError(Exception):
    """No run, or more than one, goes by a name."""


def _not_found(name: str, ledger: Ledger) -> str:
    with ledger.engine.connect() as connection:
        rows: list[Any] = list(connection.execute(select(RUNS.c.run_id, RUNS.c.name)))
    near = closest(name, {part for row in rows for part in row})
    hint = f"; did you mean `{near}`?" if near else ""
    return (
        f"{name}: no such folder, and none of the {len(rows)} runs in {ledger.root} has an id or a "
        f"name that begins so{hint}. `lm-research runs list runs={ledger.root}` lists them; "
        "runs=FOLDER looks elsewhere."
    )
