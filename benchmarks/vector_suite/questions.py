"""Questions to word vectors, written for this project: analogies, and which of two words is nearer.

All words are common lower-case ones, so that vectors of small corpora know many of them.
"""

from itertools import permutations

PAIRS = {
    "capital": "france paris england london germany berlin russia moscow italy rome spain madrid "
    "japan tokyo china beijing egypt cairo austria vienna ireland dublin norway oslo poland warsaw "
    "portugal lisbon greece athens cuba havana iran tehran canada ottawa",
    "gender": "man woman king queen boy girl father mother son daughter brother sister husband "
    "wife "
    "uncle aunt prince princess he she his her himself herself actor actress sir madam "
    "grandfather grandmother nephew niece gentleman lady",
    "plural": "car cars book books house houses year years day days week weeks month months ship "
    "ships game games song songs river rivers city cities soldier soldiers eye eyes hand hands "
    "tree "
    "trees friend friends word words child children man men woman women",
    "past": "go went come came see saw take took give gave make made know knew think thought say "
    "said "
    "find found become became begin began write wrote win won lose lost leave left",
    "comparative": "large larger small smaller high higher low lower great greater long longer "
    "strong "
    "stronger old older young younger near nearer deep deeper warm warmer cold colder short "
    "shorter",
    "opposite": "north south east west left right high low first last true false early late good "
    "bad "
    "rich poor war peace life death day night black white",
}
"""Each word followed by its counterpart."""

TRIPLES = (
    "king queen bread|monday tuesday horse|north south milk|river lake idea|army soldiers flower|"
    "church priest engine|doctor hospital song|husband wife bridge|album song general|goal match "
    "bishop|ship sea kitchen|gun rifle letter|winter summer captain|red blue church|france germany "
    "dog|book novel river|mother daughter street|snow ice money|eyes face railway|storm hurricane "
    "opera|student university cannon|film actor island|game player queen|judge court bird|bird "
    "species album|three four house|january march officer|castle tower song|road highway emperor|"
    "emperor empire guitar|guitar drums bishop|battle troops chapter|president elected rain|"
    "train railway daughter|horse rode television|television episode cavalry|gold silver poem|"
    "poem poet engine|brother sister station|food bread battle"
)
"""A word, one that is nearer to it, and one that is farther from it."""


def analogies() -> dict[str, list[tuple[str, str, str, str]]]:
    """a is to b as c is to d: every ordered pair of the pairs of a kind."""
    found = {}
    for kind, text in PAIRS.items():
        words = text.split()
        pairs = list(zip(words[::2], words[1::2], strict=True))
        found[kind] = [(*one, *two) for one, two in permutations(pairs, 2)]
    return found


def triples() -> list[tuple[str, str, str]]:
    return [tuple(text.split()) for text in TRIPLES.split("|")]  # type: ignore[misc]
