"""Valid bytes made invalid: as bytes, and as the values that they stand for."""

import json
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import yaml

TOKENS = [
    b"\0", b"\n", b"\r", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[31m", b"\"", b"'", b"{", b"}", b"[",
    b"]", b": ", b"- ", b"&a ", b"*a", b"<<: *a", b"!!python/name:os.system ", b"${oc.env:HOME}",
    b"${", b"???", b"nan", b"-inf", b"1e999", b"9" * 40, b"9" * 5000, b"0x", b"1:1", b"../../x",
    b"[" * 300, b"{a: " * 200, b" " * 500, b"\t", b"<script>", b"=1+1", b"|", b"~", b"---\n",
]  # fmt: skip
VALUES: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: -1, lambda: 0, lambda: 10**30, lambda: 10**400,
    lambda: 1e308, lambda: float("nan"), lambda: float("inf"), lambda: "", lambda: "../../x",
    lambda: "/etc/passwd", lambda: "\x1b]0;x\x07", lambda: "\ud800", lambda: "x" * 10_000,
    lambda: "${oc.env:HOME}", lambda: "os.system", list, dict, lambda: [[]] * 3,
    lambda: {"_target_": "os.system"}, lambda: {"": ""}, lambda: _nested(50), lambda: _nested(500),
    lambda: "2001-01-01", lambda: [None, 1, "a", {}], lambda: "done", lambda: 1.5,
    lambda: "\u202ex",
]  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def mutated_bytes(data: bytes, random: Random) -> bytes:
    """One to four small accidents: bits, slices, tokens, a torn end."""
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((0, 1, 1, 4, 30, 300)))
        kind = random.randrange(6)
        if kind == 0 and start < len(data):
            data = (
                data[:start] + bytes([data[start] ^ (1 << random.randrange(8))]) + data[start + 1 :]
            )
        elif kind == 1:
            data = data[:start] + random.choice(TOKENS) + data[end:]
        elif kind == 2:
            data = data[:start] + data[end:]
        elif kind == 3:
            data = data[:end] + data[start:end] * random.choice((1, 2, 50)) + data[end:]
        elif kind == 4:
            data = data[:start]
        else:
            data = data[:start] + random.randbytes(end - start) + data[end:]
    return data


def mutated_value(value: Any, random: Random) -> Any:
    """A copy with one to three values replaced, removed, doubled or renamed, at any depth."""
    for _ in range(random.randint(1, 3)):
        value = _mutated(value, random)
    return value


def _mutated(value: Any, random: Random) -> Any:
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        return random.choice(VALUES)()
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, copy = random.choice(keys), value.copy()
    kind = random.randrange(8)
    if kind == 0:
        del copy[key]
    elif kind == 1 and isinstance(copy, dict):
        copy[random.choice(("", "x", "_target_", "a.b", "\x1b", 1))] = copy.pop(key)
    elif kind == 1:
        copy *= 2
    else:
        copy[key] = _mutated(value[key], random)
    return copy


def mutated_json(data: bytes, random: Random) -> bytes:
    """As bytes or as a value."""
    if random.random() < 0.5:
        return mutated_bytes(data, random)
    return json.dumps(mutated_value(json.loads(data), random)).encode()


def mutated_lines(data: bytes, random: Random) -> bytes:
    """One line of JSON mutated, or the whole as bytes."""
    lines = data.splitlines(keepends=True)
    if random.random() < 0.5 or not lines:
        return mutated_bytes(data, random)
    index = random.randrange(len(lines))
    lines[index] = mutated_json(lines[index], random) + b"\n"
    return b"".join(lines)


@cache
def _value(data: bytes) -> Any:
    return yaml.load(data, yaml.CSafeLoader)


def mutated_yaml(data: bytes, random: Random) -> bytes:
    """As bytes or as a value."""
    if random.random() < 0.5:
        return mutated_bytes(data, random)
    value = mutated_value(_value(data), random)
    return json.dumps(value).encode()  # which is YAML, too, and ten times as fast to write
