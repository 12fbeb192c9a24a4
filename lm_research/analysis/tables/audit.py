"""Tables of an audit and of a contamination report, from their JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_research.analysis.metric import MISSING
from lm_research.analysis.tables.table import Cell, Column, Table

Found = Mapping[str, Any]


def _text(head: str, wide: bool = False) -> Column:
    return Column(head, numeric=False, wide=wide)


def _number(value: float | None, decimals: int = 0) -> Cell:
    return Cell(MISSING if value is None else f"{value:,.{decimals}f}")


def sizes_table(sources: Found) -> Table:
    """Documents, bytes, characters and words of each split."""
    heads = ("documents", "bytes", "characters", "words")
    rows = [
        (Cell(name), Cell(split), *(_number(counts[head]) for head in heads))
        for name, source in sources.items()
        for split, counts in sorted(source["splits"].items(), key=lambda item: item[0] != "train")
    ]
    note = "Of the cleaned text. A word is a unit: in Chinese and its like, a character."
    columns = (_text("source"), _text("split"), *(Column(head) for head in heads))
    return Table("Sizes", columns, tuple(rows), (note,))


def copies_table(rows: Sequence[Found]) -> Table:
    """Texts that two splits or sources share, and that one repeats; leaks are named."""
    columns = (
        _text("of"), _text("also in"), _text(""), Column("equal texts"),
        Column("documents of the first"), Column("of the second"),
        Column("nearly equal in the sample"),
    )  # fmt: skip
    drawn = []
    for row in rows:
        first, second = (f"{row[k]['source']}, {row[k]['split']}" for k in ("first", "second"))
        same = first == second
        cells = (
            Cell(first), Cell("itself" if same else second), Cell("leak" if row["leak"] else ""),
            _number(row["equal_texts"]), _number(row["first_documents"]),
            _number(row["second_documents"]),
            Cell(f"{row['near_first']:,}" + ("" if same else f" / {row['near_second']:,}")),
        )  # fmt: skip
        drawn.append(cells)
    notes = (
        "A leak: the splits differ. In a row of a split with itself: documents beyond each "
        "text's first.",
        "Nearly equal: Jaccard similarity of the sets of 5 neighbouring words (characters in "
        "Chinese) of at least 0.8, candidates by MinHash; different texts of the sample, those "
        "that are equal in both included.",
    )
    return Table("Copies", columns, tuple(drawn), notes)


def text_table(sources: Found) -> Table:
    """Vocabulary, compression and readability, source by source."""
    columns = (
        _text("source"), Column("words"), Column("different"), Column("type-token ratio"),
        Column("Heaps β"), Column("Zipf s"), Column("compression"), Column("Flesch"),
        Column("words or characters a sentence"),
    )  # fmt: skip
    rows = []
    for name, source in sources.items():
        words, reading = source["vocabulary"], source["readability"]
        length = reading.get("words_per_sentence", reading.get("characters_per_sentence"))
        cells = (
            Cell(name), _number(words["tokens"]), _number(words["types"]),
            _number(words["type_token_ratio_block"], 3), _number(words["heaps"]["beta"], 3),
            _number(words["zipf"]["s"], 3), _number(source["compression_ratio"], 2),
            _number(reading.get("flesch_reading_ease"), 1), _number(length, 1),
        )  # fmt: skip
        rows.append(cells)
    notes = (
        "Of the sample; Chinese words as jieba cuts them. Type-token ratio: mean over blocks of "
        "1,000 words. Compression: bytes over bytes after zlib -9.",
        "Flesch reading ease (English): 60 to 70 is plain, under 30 hard; syllables are counted by "
        "groups of vowels.",
    )
    return Table("Words and sentences", columns, tuple(rows), notes)


def languages_table(sources: Found) -> Table:
    """The commonest languages of each source's documents."""
    rows = []
    for name, source in sources.items():
        found, total = source["languages"]["languages"], source["languages"]["documents"]
        top = list(found.items())[:6]
        shares = ", ".join(f"{code} {100 * n / total:.1f} %" for code, n in top)
        rows.append((Cell(name), Cell(source["card"]["language"]), Cell(shares or MISSING)))
    note = (
        "By py3langid, on at most 2,000 documents of the sample; texts under 40 bytes are “too "
        "short”. Names of natural languages mean nothing on program code."
    )
    columns = (_text("source"), _text("said to be"), _text("found", wide=True))
    return Table("Languages", columns, tuple(rows), (note,))


def topics_table(sources: Found) -> Table:
    """The words of each source that tell it from the others."""
    rows = [
        (Cell(name), Cell(", ".join(word for word, _ in source["topics"]) or MISSING))
        for name, source in sources.items()
    ]
    note = (
        "Greatest mean TF-IDF; of one source alone, against its own documents. Without numbers and "
        "English function words."
    )
    return Table("Topic words", (_text("source"), _text("words", wide=True)), tuple(rows), (note,))


def personal_table(sources: Found) -> Table:
    """What looks like personal data, whole source."""
    kinds = list(dict.fromkeys(kind for source in sources.values() for kind in source["personal"]))
    rows = [
        (Cell(name), *(_number(source["personal"].get(kind, 0)) for kind in kinds))
        for name, source in sources.items()
    ]
    note = "Counted by form over all documents: examples and parts' numbers count, names do not."
    return Table("Personal data", (_text("source"), *map(Column, kinds)), tuple(rows), (note,))


def occupations_table(sources: Found, most: int = 12) -> Table:
    """Sentences with an occupation and a pronoun, by the pronoun's gender."""
    columns = (_text("source"), _text("occupation"), Column("feminine"), Column("masculine"))
    rows = []
    for name, source in sources.items():
        bias = source["bias"]
        if not bias:
            continue
        every = {"any (pronouns in all)": bias["pronouns"], **bias["occupations"]}
        for job, counts in list(every.items())[: most + 1]:
            rows.append((Cell(name), Cell(job), *(_number(n) for n in counts.values())))
    note = (
        "Sentences of the sample that hold both words. They need not mean the same person: a "
        "skewed count is a reason to read, an even one no proof of fairness."
    )
    return Table("Occupations and pronouns", columns, tuple(rows), (note,))


def groups_table(sources: Found) -> Table:
    """How often terms for groups of people occur."""
    rows = []
    for name, source in sources.items():
        for kind, terms in (source["bias"] or {"groups": {}})["groups"].items():
            ranked = sorted(terms.items(), key=lambda item: -item[1])
            told = ", ".join(f"{term} {count:,}" for term, count in ranked)
            rows.append((Cell(name), Cell(kind), Cell(told or "none")))
    note = "Occurrences in the sample of listed words, in whatever sense (black: a colour, too)."
    columns = (_text("source"), _text("kind"), _text("terms", wide=True))
    return Table("Terms for groups of people", columns, tuple(rows), (note,))


def licences_table(licences: Found) -> Table:
    """What each licence asks for."""
    columns = (
        _text("source"), _text("licence", wide=True), _text("attribution"),
        _text("commercial use"), _text("derivatives"), _text("share alike"),
    )  # fmt: skip
    rows = [
        (
            Cell(name), Cell(one["licence"]), _yes(one["attribution"], "asked", "no"),
            _yes(one["commercial"], "allowed", "no"), _yes(one["derivatives"], "allowed", "no"),
            Cell(", ".join(one["share_alike"]) or ("no" if one["known"] else "unknown")),
        )
        for name, one in licences["sources"].items()
    ]  # fmt: skip
    note = (
        "From a table of common SPDX identifiers; of a choice (OR) the strictest. No legal advice."
    )
    return Table("Licences", columns, tuple(rows), (note, *licences["conflicts"]))


def _yes(value: bool | None, yes: str, no: str) -> Cell:
    return Cell("unknown" if value is None else yes if value else no)


def overlap_table(rows: Sequence[Found]) -> Table:
    """Each training source with each evaluation set, for each n."""
    columns = (
        _text("trained on"), _text("evaluated on"), Column("n"), Column("documents"),
        Column("sharing"), Column("%"), Column("≥ 70 %"), Column("% of tokens"),
        Column("longest match"),
    )  # fmt: skip
    drawn = [
        (
            Cell(row["train"]), Cell(row["evaluate"]), _number(row["n"]), _number(row["documents"]),
            _number(row["contaminated_documents"]), _number(row["documents_percent"], 2),
            _number(row["mostly_percent"], 2), _number(row["tokens_percent"], 2),
            _number(row["longest_match"]),
        )
        for row in rows
    ]  # fmt: skip
    notes = (
        "Tokens are words in lower case, characters in Chinese and its like. Sharing: documents "
        "with at least one run of n tokens that the training split has (n = 13: GPT-3, Brown et "
        "al. 2020); ≥ 70 %: with at least 70 % of their runs there (n = 8: PaLM, Chowdhery et al. "
        "2022), as per cent of the documents. A document shorter than n counts if it is equal to a "
        "training document.",
        "% of tokens: those that lie in a shared run. Longest match: the longest run of tokens "
        "that both have, whatever n.",
    )
    return Table("Contamination", columns, tuple(drawn), notes)
