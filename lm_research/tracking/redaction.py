"""Keeps secrets out of what a run writes down.

Three things are taken for secrets: the value of an environment variable whose name ends like one
(``*_API_KEY``, ``*_TOKEN``, ``*_SECRET``, ``*_PASSWORD``, ...), the value beside a key that is
named like one, and the user part of a URL. Each becomes ``<redacted>``.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

REDACTED = "<redacted>"
_SHORTEST = 16  # keys and tokens are longer; shorter values would hit innocent words
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"(?:^|[._-])(api_?key|password|passwd|secret|(?:secret|access|private)_key"
    r"|(?:access|auth|hf|api|bearer)_token)$",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@?#'\"]+@", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """A copy of plain containers and strings without their secrets."""
    return _redacted(value, secrets())


def redacted_arguments(arguments: list[str]) -> list[str]:
    """A command line without secrets, ``field=value`` overrides and ``--field value`` included."""
    known, kept, hide = secrets(), [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = bool(_SECRET_FIELD.search(name.lstrip("+~-")))
        kept.append(REDACTED if hide else _text(argument, known))
        if secret and equals:
            kept[-1] = f"{name}={REDACTED}"
        hide = secret and not equals and name.startswith("-")
    return kept


def secrets() -> list[str]:
    """The secrets in this process's environment, longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST and not value.startswith("/")
    }
    return sorted(found, key=len, reverse=True)


def _redacted(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        return _text(value, known)
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if isinstance(item, str) and item and _SECRET_FIELD.search(str(key))
            else _redacted(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, known) for item in value]
    return value


def _text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, REDACTED)
    return _URL_USER.sub(rf"\g<scheme>{REDACTED}@", text) if "@" in text else text
