"""Cleaning: a list of named rules, each from text to text or to nothing, with what each one did.

The rules are the items of ``cleaning:`` in conf/text/*.yaml, applied in that order. Order matters:
`RemoveMarkup` after `MaskUrls` would take a mask like "<url>" for a tag. All patterns here match in
time linear in the text. Larger rules have files of their own: docs/preprocessing.md lists all.
"""

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from lm_research.config.types import NonNegativeInt, PositiveInt
from lm_research.text.unicode import COMBINING_MARKS, utf8_length, valid_unicode


class Texts(Protocol):
    """What a rule may compare with: a source, as `lm_research.data.document.Source` has it."""

    def __iter__(self) -> Iterator[Any]:
        """Documents, each with a ``text`` and the name of its ``source``."""

    def signature(self) -> str:
        """A string that changes whenever the documents would."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Returned by a rule in place of a text: drops the document, and says why in the report."""

    reason: str


class Rule(ABC):
    """One step of cleaning. ``name`` stands for it in the report."""

    name: ClassVar[str]
    source = ""
    """Name of the source that the next text comes from; for rules that compare sources."""

    @abstractmethod
    def __call__(self, text: str) -> str | Drop | None:
        """The text after this rule; ``Drop``, or None where there is but one reason, drops it."""

    def signature(self) -> str:
        """What the results depend on beside the fields (a file's content); keys the cache."""
        return ""


class Comparing(Rule):
    """A rule that judges a text by those before it, and by the texts of other sources.

    It begins empty, and a pass over a source meets the documents in a fixed order, so that each
    pass drops the same ones. A text is never compared with those that ``against`` has from a source
    of its own name: an evaluation source that is prepared by the same rules keeps its documents.

    Args:
        against: the sources whose texts are read first, by name.
    """

    def __init__(self, against: dict[str, Texts] | None = None) -> None:
        self.against = dict(against or {})

    @abstractmethod
    def learn(self, text: str) -> None:
        """Remember a text of another source, whose name ``source`` is, without judging it."""

    def signature(self) -> str:
        """The signatures of the sources that are read first."""
        return json.dumps([source.signature() for source in self.against.values()])


@dataclass
class RuleCounts:
    """What one rule did: documents that came in, left changed, were dropped; UTF-8 bytes.

    The bytes of a dropped document count as in and not as out. ``reasons`` has the dropped ones by
    reason, where the rule gives some.
    """

    name: str
    documents_in: int = 0
    documents_changed: int = 0
    documents_dropped: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, before: str, after: str | Drop | None) -> None:
        """Count one document."""
        self.documents_in += 1
        self.bytes_in += utf8_length(before)
        if isinstance(after, str):
            self.documents_changed += after != before
            self.bytes_out += utf8_length(after)
            return
        self.documents_dropped += 1
        if after is not None:
            self.reasons[after.reason] = self.reasons.get(after.reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule made of one document: ``after`` is a text, or why it was dropped."""

    rule: Rule
    before: str
    after: str | Drop | None


class Cleaner:
    """Applies rules in order and counts what each did.

    Args:
        rules: the rules; none leaves every text as it is.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = list(rules)
        self.counts = [RuleCounts(rule.name) for rule in self.rules]

    def learn(self, read: Callable[[Any], Iterable[Any]] = iter) -> None:
        """Let rules that compare with other sources read those, before the first text is cleaned.

        The texts come cleaned by the rules before, as those that they are compared with will.

        Args:
            read: yields the documents of a source.
        """
        for index, rule in enumerate(self.rules):
            if not isinstance(rule, Comparing) or not rule.against:
                continue
            before = Cleaner(r for r in self.rules[:index] if not isinstance(r, Comparing))
            for other in rule.against.values():
                for document in read(other):
                    text = before.clean(document.text)
                    if text is not None:
                        rule.source = document.source
                        rule.learn(text)

    def steps(self, text: str, source: str = "") -> Iterator[Step]:
        """What each rule does to a text, until one drops it.

        Args:
            text: as the source has it.
            source: the name of its source.
        """
        for rule, counts in zip(self.rules, self.counts, strict=True):
            rule.source = source
            result = rule(text)
            counts.add(text, result)
            yield Step(rule, text, result)
            if not isinstance(result, str):
                return
            text = result

    def clean(self, text: str, source: str = "") -> str | None:
        """The cleaned text, or None if a rule dropped the document."""
        result: str | Drop | None = text
        for step in self.steps(text, source):
            result = step.after
        return result if isinstance(result, str) else None

    def report(self) -> list[dict[str, Any]]:
        """The counts of each rule, in order, as plain dictionaries."""
        return [asdict(counts) for counts in self.counts]


class NormalizeUnicode(Rule):
    """Unicode normalization (UAX 15).

    NFC composes what looks the same into the same code points; NFKC also folds compatibility
    variants (full-width letters, ligatures, superscripts), which changes the text for good.

    Within more than 256 marks on one letter, each 256 are put in order by themselves: sorting them
    takes quadratic time.
    """

    name = "normalize_unicode"
    _LONG_RUN = re.compile(f"(?<![{COMBINING_MARKS}])[{COMBINING_MARKS}]{{257}}")
    _MARKS = re.compile(f"[{COMBINING_MARKS}]{{256}}")

    def __init__(self, form: Literal["NFC", "NFKC", "NFD", "NFKD"] = "NFC") -> None:
        if form not in ("NFC", "NFKC", "NFD", "NFKD"):
            raise ValueError(f"form is {form!r}; it must be NFC, NFKC, NFD or NFKD")
        self.form: Literal["NFC", "NFKC", "NFD", "NFKD"] = form

    def __call__(self, text: str) -> str:
        """The text in the normal form."""
        if text.isascii():
            return text
        if not self._LONG_RUN.search(text):
            return unicodedata.normalize(self.form, text)
        ends = [match.end() for match in self._MARKS.finditer(text)]
        parts = (text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True))
        return "".join(unicodedata.normalize(self.form, part) for part in parts)


class RemoveControlCharacters(Rule):
    """Removes control characters and noncharacters; lone surrogates become U+FFFD.

    Gone are NUL and the other C0 and C1 controls but tab, line feed, carriage return and next line,
    and U+FEFF at the start (a byte order mark). Format characters stay: emoji need the zero-width
    joiner, Arabic and Hebrew the direction marks.
    """

    name = "remove_control_characters"
    _PATTERN = re.compile(
        "\\A\ufeff|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef"
        + "".join(
            chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)
        )
        + "]+"
    )

    def __call__(self, text: str) -> str:
        """The text without them."""
        return self._PATTERN.sub("", valid_unicode(text))


class CollapseWhitespace(Rule):
    """Turns each run of white space into one space, or into line breaks, and strips both ends.

    Not for program code: indentation goes.

    Args:
        keep_line_breaks: a run with one line break (LF, CR or CR LF) becomes one line feed, with
            more of them two: paragraphs stay. False makes the text one line.
    """

    name = "collapse_whitespace"
    _PATTERN = re.compile(r"\s{2,}|[^\S \n]")

    def __init__(self, keep_line_breaks: bool = True) -> None:
        self.keep_line_breaks = keep_line_breaks

    def __call__(self, text: str) -> str:
        """The text with its white space in order."""
        if not self.keep_line_breaks:
            return " ".join(text.split())
        return self._PATTERN.sub(self._run, text.strip())

    @staticmethod
    def _run(match: re.Match[str]) -> str:
        run = match[0]
        breaks = max(run.count("\n"), run.count("\r"))
        return " " if not breaks else "\n" if breaks == 1 else "\n\n"


class Substitution(Rule):
    """Replaces every match of a class's pattern by a fixed string."""

    pattern: ClassVar[re.Pattern[str]]

    def __init__(self, replacement: str) -> None:
        self.replacement = replacement
        self._template = replacement.replace("\\", r"\\")

    def __call__(self, text: str) -> str:
        """The text with its matches replaced."""
        return self.pattern.sub(self._template, text)


class MaskUrls(Substitution):
    """Replaces web addresses: those that begin with http://, https://, ftp:// or www.

    Only ASCII belongs to an address (RFC 3986), so that Chinese text may follow directly;
    punctuation at its end does not.
    """

    name = "mask_urls"
    pattern = re.compile(
        r"(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.)"
        r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*[A-Za-z0-9_~/#@$&+=%-]",
        re.IGNORECASE,
    )

    def __init__(self, replacement: str = "<url>") -> None:
        super().__init__(replacement)


class MaskEmails(Substitution):
    """Replaces e-mail addresses of the usual form: local@host.domain, in ASCII."""

    name = "mask_emails"
    # A match begins at the start of a run alone: a run without "@" is not read at every position.
    pattern = re.compile(
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}"
    )

    def __init__(self, replacement: str = "<email>") -> None:
        super().__init__(replacement)


class MaskNumbers(Substitution):
    """Replaces numbers: digits of any script with "." or "," between them ("1,234.5").

    A sign or a unit stays; digits right after a Latin letter or underscore ("h264", "x_1") do too.
    """

    name = "mask_numbers"
    pattern = re.compile(r"(?<![A-Za-z_\d])\d++(?:[.,]\d++)*+")

    def __init__(self, replacement: str = "<number>") -> None:
        super().__init__(replacement)


class ReplacePattern(Rule):
    """Replaces every match of a regular expression (Python's ``re``) of one's own.

    Nothing here keeps such a pattern from taking exponential time: nested quantifiers over the same
    characters, as in ``(a+)+b``, do.

    Args:
        pattern: the regular expression.
        replacement: may refer to groups: ``\\1``, ``\\g<name>``.

    Raises:
        ValueError: if either cannot be compiled.
    """

    name = "replace_pattern"

    def __init__(self, pattern: str, replacement: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
        try:
            # A throw-away alternative makes ``re`` parse the template, whatever the pattern needs.
            re.compile(f"(?:{pattern})|").sub(replacement, "")
        except (re.error, IndexError) as error:
            raise ValueError(
                f"replacement {replacement!r} does not fit pattern {pattern!r}: {error}"
            ) from error
        self.pattern, self.replacement = pattern, replacement

    def __call__(self, text: str) -> str:
        """The text with its matches replaced."""
        return self._pattern.sub(self.replacement, text)


class LowerCase(Rule):
    """Lower-cases. Bits per byte are then those of the lower-cased text, an easier one."""

    name = "lower_case"

    def __call__(self, text: str) -> str:
        """The text in lower case."""
        return text.lower()


class LengthFilter(Rule):
    """Drops documents shorter or longer than the limits, in characters (code points).

    Args:
        min_characters: fewest characters that a document may have.
        max_characters: most characters; null sets no limit.
    """

    name = "length_filter"

    def __init__(
        self, min_characters: NonNegativeInt = 1, max_characters: PositiveInt | None = None
    ) -> None:
        if max_characters is not None and max_characters < min_characters:
            raise ValueError(
                f"max_characters is {max_characters}, less than min_characters, {min_characters}: "
                "no document could pass"
            )
        self.min_characters = min_characters
        self.max_characters = max_characters

    def __call__(self, text: str) -> str | None:
        """The text, or None if its length is outside the limits."""
        too_long = self.max_characters is not None and len(text) > self.max_characters
        return None if too_long or len(text) < self.min_characters else text
