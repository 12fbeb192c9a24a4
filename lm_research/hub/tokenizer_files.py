"""Our tokenizers as files of the library ``tokenizers``, with the same ids.

Expressible: BPE, bytes, characters, and words that spaces part. Not expressible: words by our own
pattern (Python's classes of characters are not the library's) and by jieba, which is no rule of it.

Decoding differs for the separator and unknown pieces, which the library writes by their names, and
of words that spaces part, for other white space than single spaces.
"""

import json
from typing import TYPE_CHECKING, Any

from lm_research.text.bpe import BPETokenizer
from lm_research.text.byte import ByteTokenizer
from lm_research.text.character import CharacterTokenizer
from lm_research.text.spaced import SpacedTokenizer
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.vocabulary import SPECIAL_NAMES, UNKNOWN_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

SEPARATOR, UNKNOWN = (f"{name} " for name in SPECIAL_NAMES)
"""As entries of a vocabulary. No piece has a space at its end, so that no text can produce them."""
PYTHON_SPACES = "[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""What ``str.split`` parts at."""


def to_tokenizers(tokenizer: Tokenizer) -> "Backend | None":
    """The library's tokenizer that gives the same ids; None where it cannot be expressed."""
    if isinstance(tokenizer, BPETokenizer):
        return _bpe(tokenizer)
    if isinstance(tokenizer, ByteTokenizer):
        return _bytes()
    if isinstance(tokenizer, CharacterTokenizer):
        return _vocabulary(_characters(), tokenizer.state_dict()["pieces"], UNKNOWN)
    if isinstance(tokenizer, SpacedTokenizer):
        unknown = tokenizer.unknown or UNKNOWN
        return _vocabulary(_spaced(), tokenizer.state_dict()["pieces"], unknown)
    return None


def _bpe(tokenizer: BPETokenizer) -> "Backend":
    """The library's own, its ids moved up by one for the separator's."""
    from tokenizers import Tokenizer as Backend

    state: dict[str, Any] = json.loads(tokenizer.state_dict()["tokenizer"])
    moved = {token: number + 1 for token, number in state["model"]["vocab"].items()}
    state["model"]["vocab"] = {SEPARATOR: Tokenizer.separator_id} | moved
    state["pre_tokenizer"]["add_prefix_space"] = tokenizer.add_prefix_space
    return Backend.from_str(json.dumps(state))


def _bytes() -> "Backend":
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    from lm_research.text.bpe import byte_of_character

    ids = {character: byte + 1 for character, byte in byte_of_character().items()}
    backend = Backend(models.BPE(vocab={SEPARATOR: Tokenizer.separator_id} | ids, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _vocabulary(cut: Any, pieces: list[str], unknown: str) -> "Backend":
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    names = [SEPARATOR, unknown, *pieces]
    ids = {piece: number for number, piece in enumerate(names)}
    assert ids[unknown] == UNKNOWN_ID
    assert len(ids) == len(names)
    backend = Backend(models.WordLevel(vocab=ids, unk_token=unknown))
    backend.pre_tokenizer, decoder = cut
    if decoder is not None:
        backend.decoder = decoder
    return backend


def _characters() -> Any:
    from tokenizers import Regex, decoders, pre_tokenizers

    return pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()


def _spaced() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(PYTHON_SPACES), "removed"), None  # joins by a space
