"""What is wrong with a configuration, said so that it can be mended at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One mistake: the field, what was given, what is allowed, the closest match, the file."""

    field: str
    message: str
    value: str | None = None
    allowed: str | None = None
    closest: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        head = self.field if self.value is None else f"{self.field}={self.value}"
        hint = f"; did you mean `{self.closest}`?" if self.closest else ""
        lines = [f"  {head}: {self.message}{hint}"]
        if self.allowed:
            lines.append(f"    allowed: {self.allowed}")
        if self.file:
            lines.append(f"    file: {self.file}")
        return "\n".join(lines)


class ConfigError(Exception):
    """A configuration with problems; its text lists all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        super().__init__("\n".join([f"{count} in the configuration", *map(str, problems)]))


def closest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of ``names``, if any is similar at all."""
    found = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def listing(names: Iterable[str]) -> str:
    """Names for an "allowed:" line."""
    return ", ".join(sorted(names)) or "nothing"


def is_ours(error: BaseException) -> bool:
    """Errors that this package raises say all there is to say; a traceback would hide it."""
    return type(error).__module__.startswith("lm_research.")
