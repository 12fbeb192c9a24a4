"""A run folder as the rows of a ledger. Secrets stay outside; what is damaged becomes a note."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lm_research.analysis.runs import Run, load_rows, load_run, number
from lm_research.config.choices import mapping
from lm_research.config.yaml_blocks import BlockReader
from lm_research.tracking.folder_lock import FolderLock
from lm_research.tracking.json_files import encoded
from lm_research.tracking.redaction import redacted, redacted_arguments, redactor

EVALUATIONS = "evaluations.jsonl"
FILES = (
    "status.json",
    "metrics.jsonl",
    "summary.json",
    "config.yaml",
    "data.json",
    "environment.json",
    EVALUATIONS,
    "samples.jsonl",
    "last_error.txt",
)
"""What a run's rows depend on."""

_OF_ONE_RUN = ("time", "command", "memory_available_bytes")
_POSITION = ("step", "tokens", "seconds")
_NUMBERS = {int, float, bool}
_KNOWN_RECORDS = 4096
_KNOWN_LINES = 1 << 14
Row = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """The rows of one run folder; its ids are given when they are stored."""

    run: Row
    data_set: Row | None
    environment: Row | None
    evaluations: list[Row]
    curve: Row


class RecordReader:
    """Turns folders into rows, one after another; what runs share is worked on once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._config = BlockReader(redactor())
        self._lines: dict[tuple[str, int], tuple[Any, str]] = {}
        self._records: dict[bytes, Row] = {}

    def __call__(self, folder: str, signature: str) -> Recorded:
        """The rows of ``folder``, a path below the root."""
        run = load_run(self.root / folder, self._config)
        data_set = self._record(run.data, _data_columns)
        environment = self._record(_shared(run.environment), _environment_columns)
        return Recorded(
            run=_run_columns(run, folder, signature, self._as_lines(run.config)),
            data_set=data_set,
            environment=environment,
            evaluations=list(evaluations(run)),
            curve={"columns": _columns(run.curve)},
        )

    def _as_lines(self, config: Mapping[str, Any]) -> str:
        """:func:`as_json`, one line a key: lines that many runs share are worked on once."""
        inner = ",\n".join(self._line(key, value) for key, value in config.items())
        return f"{{\n{inner}\n}}"

    def _line(self, key: str, value: Any) -> str:
        known = self._lines.get((key, id(value)))
        if known is not None:
            return known[1]
        line = as_json({key: value})[1:-1]
        if len(self._lines) < _KNOWN_LINES:
            self._lines[key, id(value)] = value, line  # while value is kept its id is its own
        return line

    def _record(self, values: Mapping[str, Any], columns: Any) -> Row | None:
        """The row of what many runs have in common; ``None`` of nothing."""
        if not values:
            return None
        digest = hashlib.sha256(as_json(values).encode()).digest()
        row = self._records.get(digest)
        if row is None:
            clean = redacted(values)
            row = {**columns(clean), "record": as_json(clean), "digest": digest.hex()}
            if len(self._records) < _KNOWN_RECORDS:
                self._records[digest] = row
        return row


def _shared(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environment.items() if key not in _OF_ONE_RUN}


def _run_columns(run: Run, folder: str, signature: str, config: str) -> Row:
    status = run.status
    if status.get("error"):
        status = redacted(status)
    return {
        "run_id": text(run.id),
        "folder": text(folder),
        "name": text(run.folder.name),
        "state": state_of(run.state, run.folder),
        "seed": integer(run.seed),
        **{key: integer(status.get(key)) for key in ("step", "steps", "attempts")},
        **{key: text(status.get(key)) for key in ("created", "started", "finished", "error")},
        "tokens": run.tokens,
        "seconds": run.seconds(),
        "config_hash": text(status.get("config_hash")),
        "command": _command(run.environment.get("command")),
        "choices": as_json(run.choices),
        "config": config,
        "summary": as_json(run.summary),
        "status": as_json(status),
        "notes": json.dumps(list(run.notes)),
        "signature": signature,
    }


def state_of(state: str, folder: Path) -> str:
    """``state``, or "stale" for a run whose process is gone without a word."""
    if state == "running" and FolderLock(folder.absolute()).holder() is None:
        return "stale"
    return text(state) or "unknown"


def _command(recorded: Any) -> str | None:
    """The command as a JSON list."""
    if not isinstance(recorded, list) or not recorded:
        return None
    words = tuple(str(word) for word in recorded)
    return json.dumps([_clean_word(*pair) for pair in zip(("", *words), words, strict=False)])


@lru_cache(maxsize=4096)
def _clean_word(before: str, word: str) -> str:
    """``word`` without secrets; ``--field`` before it may say that it is one."""
    return redacted_arguments([before, word])[1]


def _data_columns(data: Mapping[str, Any]) -> Row:
    return {
        key: text(data.get(key))
        for key in ("fingerprint", "source", "language", "category", "licence")
    }


def _environment_columns(values: Mapping[str, Any]) -> Row:
    return {
        **{key: text(values.get(key)) for key in ("host", "platform", "python")},
        "torch": text(mapping(values.get("versions")).get("torch")),
        "cpu": text(mapping(values.get("cpu")).get("model")),
        "gpus": text(", ".join(map(str, values.get("gpus") or []))) or None,
        "git_commit": text(mapping(values.get("git")).get("commit")),
    }


def evaluations(run: Run) -> Iterable[Row]:
    """The validation at the end of training, on each source; then what was asked for later."""
    own = mapping(mapping(run.data.get("splits")).get("validation")).get("text_sha256")
    others = mapping(run.data.get("evaluated"))
    scores: dict[str, dict[str, float | None]] = {}
    for key, value in run.summary.items():
        if key.startswith("val/"):
            scores.setdefault(run.source_name or run.source, {})[key[4:]] = value
        elif key.startswith("eval/") and key.count("/") > 1:
            source, _, name = key[5:].rpartition("/")
            scores.setdefault(source, {})[name] = value
    for source, found in scores.items():
        digest = mapping(others.get(source)).get("text_sha256") or (
            own if source in (run.source, run.source_name) else None
        )
        yield _evaluation(source, "validation", "end", digest, found)
    for row in load_rows(run.folder / EVALUATIONS):
        found = {k: number(v) for k, v in row.items() if v is None or number(v) is not None}
        names = (row.get(key) for key in ("data", "split", "checkpoint", "text_sha256"))
        source, split, checkpoint, digest = redacted(list(names))
        yield _evaluation(source, split, checkpoint, digest, found)


def _evaluation(
    source: Any, split: Any, checkpoint: Any, digest: Any, scores: Mapping[str, float | None]
) -> Row:
    return {
        "source": text(source) or "unknown",
        "split": text(split) or "unknown",
        "checkpoint": text(checkpoint) or "unknown",
        "text_sha256": text(digest),
        "scores": as_json(scores),
    }


def _columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of metrics turned into columns of numbers, ``null`` where a row has none."""
    names = dict.fromkeys((*_POSITION, *(name for row in rows for name in row)))
    columns = {name: _numbers(row.get(name) for row in rows) for name in names}
    kept = {k: v for k, v in columns.items() if any(value is not None for value in v)}
    return json.dumps(kept, separators=(",", ":"))


def _numbers(values: Iterable[Any]) -> list[int | float | bool | None]:
    """The values that are numbers, and finite (what is not is not zero less than itself)."""
    return [v if type(v) in _NUMBERS and v - v == 0 else None for v in values]


def as_json(values: Mapping[str, Any]) -> str:
    """One JSON object that SQLite and UTF-8 take; what is not finite is ``null`` and noted."""
    return text(encoded(values)) or "{}"


def text(value: Any) -> str | None:
    """``value`` as text that UTF-8 can say; ``None`` stays."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def integer(value: Any) -> int | None:
    """``value`` if it is a whole number that SQLite can hold."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and -(2**63) <= value < 2**63 else None
