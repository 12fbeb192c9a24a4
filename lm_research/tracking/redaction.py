"""Keeps secrets out of what a run writes down.

These are taken for secrets, and become ``<redacted>``:

- the value of an environment variable whose name ends like one (``*_API_KEY``, ``*_TOKEN``,
  ``*_SECRET``, ``*_PASSWORD``, ...), wherever it occurs;
- the value beside a field that is named like one;
- the user part of a URL, ``user:password@host``, and what a URL's query hands over as a token, a
  key or a signature;
- what has the form of a well-known service's token, and what follows ``Authorization: Bearer``.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

REDACTED = "<redacted>"
_SHORTEST = 16  # keys and tokens are longer; shorter values would hit innocent words
_SHORTEST_PASSWORD = 8
_SECRET_VARIABLE = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE|_PAT|_PASS|_DSN)$", re.I
)
_PASSWORD_VARIABLE = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|_PASS)$", re.I)
_SECRET_NAME = (
    r"(?:api_?key|password|passwd|passphrase|secret|credentials?|authorization"
    r"|(?:secret|access|private)_key|(?:access|auth|hf|api|bearer|refresh)_token)"
)
_SECRET_FIELD = re.compile(rf"(?:^|[._-]){_SECRET_NAME}$", re.I)
_VALUE = r"[\w+/.~=-]"
_FORMS: list[tuple[re.Pattern[str], str]] = [
    (
        re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://)[^\s/@?#'\"]{1,1000}@", re.I),
        rf"\1{REDACTED}@",
    ),
    (
        re.compile(
            r"(?<![\w.:/@+-])[\w.+-]{1,64}+:[^\s:/@'\"]{4,128}@"
            r"(?=(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b)",
            re.I,
        ),
        f"{REDACTED}@",
    ),
    (
        re.compile(
            r"([?&;][\w.-]{0,40}(?:token|key|signature|\bsig|secret|password|auth|credential)"
            r"[\w.-]{0,20}=)[^&\s#'\"<>]+",
            re.I,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"(?<![\w-])(?:hf_[A-Za-z0-9]{20,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{16,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{16}"
            r"|wandb_v\d_\w{20,}|eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{8,}+)"
        ),
        REDACTED,
    ),
    (re.compile(rf"\b((?:bearer|basic)\s{{1,8}}){_VALUE}{{12,}}+", re.I), rf"\1{REDACTED}"),
    (
        re.compile(
            rf"((?<![A-Za-z0-9]){_SECRET_NAME}[\"']?\s{{0,8}}[=:]\s{{0,8}})"
            r"([\"'])(?:(?!\2).){1,500}\2",
            re.I,
        ),
        rf"\1\2{REDACTED}\2",
    ),
    (
        re.compile(
            rf"((?<![A-Za-z0-9]){_SECRET_NAME}\s{{0,8}}[=:]\s{{0,8}})"
            rf"(?={_VALUE}{{0,200}}\d){_VALUE}{{8,}}+(?![(\[])",
            re.I,
        ),
        rf"\1{REDACTED}",
    ),
]
"""Pattern -> what stays. Every repetition is bounded, possessive, or ended by what may not follow:
the time is linear in the text, whatever the text is."""


def redacted(value: Any) -> Any:
    """A copy of plain containers and strings without their secrets."""
    return _redacted(value, secrets())


def redactor() -> Callable[[Any], Any]:
    """:func:`redacted` for many values: this process's environment is looked at once."""
    known = secrets()
    return lambda value: _redacted(value, known)


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
    found = {value for name, value in os.environ.items() if _is_secret(name, value)}
    return sorted(found, key=len, reverse=True)


def _is_secret(name: str, value: str) -> bool:
    if not _SECRET_VARIABLE.search(name) or value.startswith("/"):
        return False
    return len(value) >= (_SHORTEST_PASSWORD if _PASSWORD_VARIABLE.search(name) else _SHORTEST)


def _redacted(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        return _text(value, known)
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _tells(key, item) else _redacted(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, known) for item in value]
    return value


def _tells(key: Any, item: Any) -> bool:
    """Whether ``item`` is a secret because of its name; what is empty tells nothing."""
    plain = not isinstance(item, Mapping | bool) and item not in (None, "", [])
    return plain and bool(_SECRET_FIELD.search(str(key)))


def _text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, REDACTED)
    for form, kept in _FORMS:
        text = form.sub(kept, text)
    return text
