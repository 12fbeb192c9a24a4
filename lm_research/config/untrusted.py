"""Reading what a stranger may have written: plain files, of bounded size, depth and expansion.

Neither YAML nor JSON runs code here. What is left is to end in time and in memory, whatever the
bytes are: nine lines of YAML can stand for ten to the ninth values, a few thousand brackets end a
recursive parser, and a pipe in the place of a file is never read to its end.
"""

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

DEEPEST = 64
"""Levels of containers in one another."""
MOST_VALUES = 1_000_000
"""Values of a YAML file, aliases followed."""
LARGEST_CONFIG = 8 << 20
"""Bytes of a YAML file."""
LARGEST_JSON = 1 << 30
"""Bytes of a JSON file: a tokenizer's may have hundreds of megabytes."""

_PIECE = 1 << 20
_KINDS = ("str", "int", "float", "bool", "null", "seq", "map")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}
_LONGEST_NUMBER = 4300  # digits, as of Python's own int()
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]+|[\]}]+', re.DOTALL)
FLOAT_TAG = "tag:yaml.org,2002:float"
FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))(?:[eE][-+]?\d+)?$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
FLOAT_STARTS = list("-+0123456789.")
"""Numbers as OmegaConf reads them: ``1e-4`` is text to PyYAML."""


class UntrustedError(ValueError):
    """Content that is refused unread; says why, and leaves the file's name to the caller."""


def open_plain(path: str | Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """Open ``path`` itself, never what it links to; returns the descriptor.

    Raises:
        OSError: also where ``path`` is a link, a pipe, a device or a folder; ``strerror`` says so.
    """
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | safe, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        told = "a link, which is not followed here; put the file itself in its place"
        raise OSError(errno.ELOOP, told, str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return descriptor


def read_plain(path: str | Path, most: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        OSError: see :func:`open_plain`.
        UntrustedError: more than ``most`` bytes.
    """
    parts, left = [], most
    with open(open_plain(path), "rb", buffering=0) as file:
        while part := file.read(_PIECE):  # memory for all that is allowed would be asked for
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise UntrustedError(f"more than {most:,} bytes")
    return b"".join(parts)


def load_yaml(text: str | bytes) -> Any:
    """The value of a YAML document: containers, text, numbers as OmegaConf reads them.

    Raises:
        UntrustedError: not YAML, or beyond the bounds of this module, or with a tag of its own,
            or with a key that occurs twice.
    """
    try:
        check_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except UntrustedError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise UntrustedError(f"not readable as YAML: {' '.join(str(error).split())}") from None


def check_bounds(text: str | bytes) -> None:
    """Look at YAML before any parser expands it.

    Raises:
        UntrustedError: beyond the bounds of this module, or with a tag of its own.
        yaml.YAMLError: not YAML.
    """
    if len(text) > LARGEST_CONFIG:
        raise UntrustedError(f"more than {LARGEST_CONFIG:,} bytes")
    _Scan().check(text)


def load_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        UntrustedError: not JSON, or nested deeper than ``DEEPEST``.
    """
    if data.count(b"[") + data.count(b"{") > DEEPEST and _depth(data) > DEEPEST:
        raise UntrustedError(f"nested more than {DEEPEST} levels deep")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UntrustedError(f"not JSON ({error})") from None


def _depth(data: bytes) -> int:
    """The deepest nesting, without recursion; brackets in strings do not count."""
    depth = deepest = 0
    for match in _TOKENS.finditer(data):
        token = match.group()
        if token[:1] in b"[{":
            depth += len(token)
            deepest = max(deepest, depth)
        elif token[:1] in b"]}":
            depth -= len(token)
    return deepest


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, strict about keys, and with OmegaConf's scalars: dates are text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(own) != len(set(own)):
            twice = next(key for i, key in enumerate(own) if key in own[:i])
            line = node.start_mark.line + 1
            raise UntrustedError(f"the key `{twice}` occurs twice in the mapping of line {line}")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for start, known in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(FLOAT_TAG, FLOAT, FLOAT_STARTS)


class _Scan:
    """A pass over a document's events, which need no recursion and are not expanded."""

    def __init__(self) -> None:
        self.sizes: list[int] = [0]  # values so far, of each container that is open
        self.anchors: list[str | None] = [None]
        self.known: dict[str, int] = {}

    def check(self, text: str | bytes) -> None:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent):
                self._add(self._size_of(event.anchor))
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()

    def _scalar(self, event: Any) -> None:
        self._tag(event)
        long = event.implicit[0] and len(event.value) > _LONGEST_NUMBER
        if long and event.value[0] in "+-0123456789":
            raise UntrustedError(f"a number of more than {_LONGEST_NUMBER:,} digits")
        self._remember(event.anchor, 1)
        self._add(1)

    def _open(self, event: Any) -> None:
        self._tag(event)
        if len(self.sizes) > DEEPEST:
            raise UntrustedError(f"nested more than {DEEPEST} levels deep")
        self.known.pop(event.anchor or "", None)
        self.sizes.append(1)
        self.anchors.append(event.anchor)

    def _close(self) -> None:
        size, anchor = self.sizes.pop(), self.anchors.pop()
        self._remember(anchor, size)
        self._add(size)

    def _add(self, size: int) -> None:
        self.sizes[-1] += size
        if self.sizes[-1] > MOST_VALUES:
            raise UntrustedError(f"more than {MOST_VALUES:,} values, aliases followed")

    def _remember(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self.known[anchor] = size

    def _size_of(self, anchor: str | None) -> int:
        if anchor in self.anchors:
            raise UntrustedError(f"`*{anchor}` refers to what it is part of")
        return self.known.get(anchor or "", 1)

    def _tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!" and event.tag not in _PLAIN_TAGS:
            raise UntrustedError(f"the tag {event.tag!r} is not plain data")
