"""JSON on disk: values made plain, whole files replaced in one move.

JSON has no NaN and no infinity, and a reader in another language must be able to read our files.
Such a number is written as ``null``, and beside it the key ``not_finite`` says what it was::

    {"step": 7, "train/loss": null, "not_finite": {"train/loss": "NaN"}}

:func:`restored` turns that back into floats, so that nothing is lost on a round trip.
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_research.config.untrusted import (
    LARGEST_JSON,
    UntrustedError,
    load_json,
    open_plain,
    read_plain,
)
from lm_research.tracking.errors import RunFolderError, write_error

NOT_FINITE = "not_finite"
"""The key that says which ``null`` was "NaN", "Infinity" or "-Infinity" (dotted path -> name)."""

_NAMES = ("NaN", "Infinity", "-Infinity")

TEMPORARY = ".{name}.{pid}.tmp"
"""Name of the file that a replacement is written to, in the folder of the file it replaces."""


def encoded(values: Mapping[str, Any], indent: int | None = None) -> str:
    """``values`` as one JSON object; numbers that JSON lacks as ``null`` and a note.

    NumPy and torch scalars and arrays become numbers and lists, paths become strings.
    """
    try:
        return _dumps(values, indent)
    except ValueError:  # NaN or infinity: rare, so that the common case takes one pass
        notes: dict[str, str] = {}
        return _dumps({**_finite(values, "", notes), NOT_FINITE: notes}, indent)


def restored(values: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`encoded`, for a decoded object."""
    notes = values.get(NOT_FINITE)
    if not isinstance(notes, dict):
        return values
    return _restored({k: v for k, v in values.items() if k != NOT_FINITE}, "", notes)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Replace ``path`` by ``text``: a reader, or a crash, finds the old file or the new one whole.

    Args:
        path: the file; its folder must exist.
        text: the new content, written as UTF-8.
        durable: also force it to the disk, so that it survives a power cut.

    Raises:
        RunFolderError: the disk is full or the folder is not writable; the old file is whole.
    """
    temporary = path.with_name(TEMPORARY.format(name=path.name, pid=os.getpid()))
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from error


def append_text(path: Path, text: str) -> None:
    """Add ``text`` to the end of ``path``, which is made if missing; never of what it links to.

    Raises:
        RunFolderError: the disk is full, the folder is not writable, or ``path`` is no plain file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        with open(
            open_plain(path, flags), "a", encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError as error:
        raise write_error(path, error) from error


def write_json(path: Path, values: Mapping[str, Any], durable: bool = True) -> None:
    """Replace ``path`` by ``values``, indented for people; see :func:`write_text`."""
    write_text(path, encoded(values, indent=2) + "\n", durable)


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``.

    Raises:
        RunFolderError: the file is missing, unreadable, or not one JSON object.
    """
    try:
        values = load_json(read_plain(path, LARGEST_JSON))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}") from error
    except UntrustedError as error:
        raise RunFolderError(f"{path}: damaged: {error}. Move the file away.") from error
    if not isinstance(values, dict):
        raise RunFolderError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return restored(values)


def _dumps(values: Mapping[str, Any], indent: int | None) -> str:
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        values,
        allow_nan=False,
        ensure_ascii=False,
        indent=indent,
        separators=separators,
        default=_plain,
    )
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as a byte model may well generate
        return json.dumps(values, allow_nan=False, indent=indent, default=_plain)
    return text


def _plain(value: Any) -> Any:
    """What ``json`` cannot write by itself, as something that it can."""
    for method in ("tolist", "item"):  # numpy and torch, without importing either
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def _finite(value: Any, path: str, notes: dict[str, str]) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        notes[path] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return None
    if isinstance(value, Mapping):
        dot = f"{path}." if path else ""
        return {str(key): _finite(item, f"{dot}{key}", notes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, f"{path}.{index}", notes) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    return _finite(_plain(value), path, notes)


def _restored(value: Any, path: str, notes: dict[str, str]) -> Any:
    if value is None and notes.get(path) in _NAMES:
        return float(notes[path])
    dot = f"{path}." if path else ""
    if isinstance(value, dict):
        return {key: _restored(item, f"{dot}{key}", notes) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, f"{dot}{index}", notes) for index, item in enumerate(value)]
    return value


def sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a folder are left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
