"""Word vectors to download, for ``vectorizer=glove``: the files of GloVe 6B."""

from lm_research.data.document import DataError
from lm_research.data.downloads import RemoteFile

_ARCHIVE = "https://nlp.stanford.edu/data/glove.6B.zip"
_SHA256 = "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb"
GLOVE_6B = {f"glove_6b_{dim}d": dim for dim in (50, 100, 200, 300)}
"""Names and widths; 400,000 words of Wikipedia 2014 and Gigaword 5, PDDL-1.0.

J. Pennington, R. Socher and C. Manning, GloVe: Global Vectors for Word Representation (2014)
"""


def word_vectors(name: str) -> RemoteFile:
    """The file of one of :data:`GLOVE_6B`: out of an archive of 862 MB, which is checked.

    Raises:
        DataError: no such name.
    """
    if name not in GLOVE_6B:
        raise DataError(f"vectors={name}: allowed are {', '.join(GLOVE_6B)}")
    file = f"glove.6B.{GLOVE_6B[name]}d.txt"
    return RemoteFile(f"glove/{file}", [f"{_ARCHIVE}#{file}"], None, archive_sha256=_SHA256)
