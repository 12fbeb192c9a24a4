"""PTX text as a list of instructions."""

import functools
import re
from dataclasses import dataclass, field

from kernel_suite.ptx.errors import UnsupportedError

WIDTHS = {"pred": 1, "b16": 16, "b32": 32, "b64": 64, "u16": 16, "u32": 32, "u64": 64, "s32": 32,
          "s64": 64, "f32": 32, "f64": 64, "b128": 128, "s16": 16}  # fmt: skip


@dataclass(frozen=True)
class Register:
    """Where a value is kept; special registers (``%tid.x``) have no index."""

    name: str
    index: int
    width: int


@dataclass(frozen=True)
class Special:
    """A register that the hardware sets: ``%tid.x``."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A constant's bits; negative integers as they are written."""

    value: int


@dataclass(frozen=True)
class Symbol:
    """A label, a parameter, or shared memory's name."""

    name: str


@dataclass(frozen=True)
class Address:
    """``[base + offset]``."""

    base: "Register | Symbol | Immediate"
    offset: int


@dataclass(frozen=True)
class Vector:
    """``{a, b}``."""

    parts: tuple


Operand = Register | Special | Immediate | Symbol | Address | Vector


@dataclass
class Instruction:
    """One statement; ``opcode`` is cut at its dots, ``source`` the line it was compiled from."""

    text: str
    source: str
    opcode: tuple[str, ...]
    operands: list[Operand]
    guard: Register | None = None
    negated: bool = False

    @property
    def name(self) -> str:
        """``ld`` of ``ld.global.b32``."""
        return self.opcode[0]

    @property
    def kind(self) -> str:
        """The last part, which is a type with most."""
        return self.opcode[-1]

    def has(self, *parts: str) -> bool:
        """Whether any of ``parts`` stands in the opcode."""
        return any(part in self.opcode for part in parts)


@dataclass
class Program:
    """A kernel: parameters' (name, bytes), instructions, and labels' places among them."""

    name: str
    parameters: list[tuple[str, int]]
    threads: int
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)


ENTRY = re.compile(r"\.visible\s+\.entry\s+(\w+)\((.*?)\)(.*?)\{", re.S)
PARAMETER = re.compile(r"\.param\s+\.(\w+)(?:\s+\.ptr\s+\.\w+\s+\.align\s+\d+)?\s+(\w+)")
LABEL = re.compile(r"([$%\w]+):(?!:)")
BLANK = re.compile(r"\s*(?:\.loc\s+(\d+)\s+(\d+)[^\n]*|\.(?:pragma|file)\b[^\n]*)?")
FILE = re.compile(r'\.file\s+(\d+)\s+"(?:[^"]*/)?([^"/]*)"')
DECLARATION = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.S)


@functools.lru_cache(32)
def parse(text: str) -> Program:
    """The one kernel in ``text``."""
    text = re.sub(r"//[^\n]*", "", text)
    entries = list(ENTRY.finditer(text))
    if len(entries) != 1:
        raise UnsupportedError(f"{len(entries)} kernels in one PTX text, where one is expected")
    name, given, directives = entries[0].groups()
    parameters = [(m[2], WIDTHS[m[1]] // 8) for m in PARAMETER.finditer(given)]
    threads = re.search(r"\.reqntid\s+(\d+)", directives)
    program = Program(name, parameters, int(threads[1]) if threads else 0)
    _Body(program).read(text, entries[0].end())
    return program


class _Body:
    """Statements one after another; a brace where a statement begins opens a scope of names."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.scopes: list[dict[str, Register]] = [{}]
        self.path = [0]  # numbers of the open scopes, which make labels unique
        self.opened = 0
        self.source = ""
        self.files: dict[str, str] = {}

    def read(self, text: str, at: int) -> None:
        """Up to the brace that closes the body."""
        self.files = dict(FILE.findall(text, at))
        while True:
            at = self._skip(text, at)
            if text[at] == "{":
                self.opened += 1
                self.path.append(self.opened)
                self.scopes.append({})
                at += 1
            elif text[at] == "}":
                self.scopes.pop()
                self.path.pop()
                at += 1
                if not self.scopes:
                    break
            elif label := LABEL.match(text, at):
                self.program.labels[self._scoped(label[1])] = len(self.program.instructions)
                at = label.end()
            else:
                end = text.index(";", at)
                self._statement(" ".join(text[at:end].split()))
                at = end + 1
        self._find_labels()

    def _skip(self, text: str, at: int) -> int:
        """Past blanks and debugging directives, which end with their line and name the source."""
        while (found := BLANK.match(text, at)) and found.end() > at:
            if found[1]:
                self.source = f"{self.files.get(found[1], '?')}:{found[2]}"
            at = found.end()
        return at

    def _scoped(self, name: str) -> str:
        return "/".join(map(str, self.path)) + f"/{name}"

    def _find_labels(self) -> None:
        """Branches name their target's place in the end: the innermost scope that has it."""
        for instruction in self.program.instructions:
            if instruction.name == "bra":
                *path, name = instruction.operands[-1].name.split("/")  # type: ignore[union-attr]
                while "/".join([*path, name]) not in self.program.labels:
                    path.pop()
                place = self.program.labels["/".join([*path, name])]
                instruction.operands = [Immediate(place)]

    def _statement(self, text: str) -> None:
        if declared := DECLARATION.fullmatch(text):
            self._declare(WIDTHS[declared[1]], declared[2])
            return
        if text.startswith("."):
            raise UnsupportedError(text)
        guard, negated, rest = None, False, text
        if guarded := re.match(r"@(!?)([%\w]+)\s+(.*)", text):
            negated, rest = guarded[1] == "!", guarded[3]
            guard = self._register(guarded[2])
        opcode, _, given = rest.partition(" ")
        instruction = Instruction(text, self.source, tuple(opcode.split(".")), [], guard, negated)
        if instruction.name == "bra":
            instruction.operands = [Symbol(self._scoped(given.strip()))]
        else:
            instruction.operands = [self._operand(part) for part in _split(given)]
        self.program.instructions.append(instruction)

    def _declare(self, width: int, names: str) -> None:
        for name in names.replace(" ", "").split(","):
            many = re.fullmatch(r"(.+)<(\d+)>", name)
            for single in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]:
                self.scopes[-1][single] = Register(single, len(self.program.widths), width)
                self.program.widths.append(width)

    def _register(self, name: str) -> Register:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise KeyError(name)

    def _operand(self, text: str) -> Operand:
        if text.startswith("{"):
            return Vector(tuple(self._operand(part) for part in _split(text[1:-1])))
        if "|" in text:  # both halves' predicates
            return Vector(tuple(self._operand(part) for part in text.split("|")))
        if text.startswith("["):
            return self._address(text[1:-1])
        if text.startswith(("0f", "0F", "0d", "0D")):
            return Immediate(int(text[2:], 16))
        if re.match(r"-?\d", text):
            return Immediate(int(text.rstrip("U"), 0))
        try:
            return self._register(text)
        except KeyError:
            return Special(text) if text.startswith("%") else Symbol(text)

    def _address(self, text: str) -> Address:
        base, sign, offset = re.fullmatch(r"\s*([$%\w]+)\s*(?:([+-])\s*(-?\w+))?\s*", text).groups()  # type: ignore[union-attr]
        number = int(offset, 0) if offset else 0
        found = self._operand(base)
        assert isinstance(found, Register | Symbol | Immediate)
        return Address(found, -number if sign == "-" else number)


def _split(text: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts = re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", text)
    return [part.strip() for part in parts if part.strip()]
