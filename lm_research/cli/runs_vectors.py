"""``lm-research runs vectors``: a run's vectors of tokens as a file of word vectors."""

from pathlib import Path
from typing import Literal

from lm_research.cli.saved import load
from lm_research.text.tokenizer import Tokenizer
from lm_research.vectorizers.tagged import TaggedVectorizer
from lm_research.vectorizers.word_vector_files import Format, require_writable
from lm_research.vectorizers.word_vectors import write_word_vectors


def export_vectors(
    folder: Path | str, output: str, format: Format, checkpoint: Literal["last", "best"] = "last"
) -> str:
    """Write the vectorizer's V x D matrix; a line that says how many tokens were written.

    Raises:
        ValueError: the vectorizer has no vector of its own for each token.
        FileExistsError: ``output`` is there already.
    """
    saved = load(str(folder), checkpoint)
    vectorizer = getattr(saved.model, "vectorizer", None)
    if isinstance(vectorizer, TaggedVectorizer):
        vectorizer = vectorizer.vectorizer
    weight_VD = None if vectorizer is None else vectorizer.output_weight()
    if weight_VD is None:
        raise ValueError(
            f"{folder}: the run has no vector for each token; vectorizer=embedding, glove, "
            "word2vec or a bag with a projection and without with_last has"
        )
    ids = writable(saved.tokenizer, format)
    write_word_vectors(
        output, list(ids), weight_VD.detach().cpu().numpy()[list(ids.values())], format
    )
    left = saved.tokenizer.vocabulary_size - len(ids)
    return (
        f"{output}: {len(ids)} vectors; {left} tokens left out (white space, or spelled as another)"
    )


def writable(tokenizer: Tokenizer, format: Format) -> dict[str, int]:
    """Words to ids: what tokens decode to without the spaces around, each the first time."""
    found: dict[str, int] = {}
    for id in range(tokenizer.vocabulary_size):
        word = tokenizer.decode([id]).strip(" ")
        try:
            require_writable(word, format)
        except ValueError:
            continue
        found.setdefault(word, id)
    return found
