"""Bits per byte and perplexity: the whole of it, in one page.

A language model assigns a negative log-likelihood to a byte string. Whatever the tokens, whatever
the vectors, the string is the same, so the sum over it can be compared when it is divided by
something that does not depend on the model: its UTF-8 bytes.

    bits per byte       = (sum_t -ln p(x_t | x_<t) + spelling) / (bytes * ln 2)
    perplexity, token   = exp(sum_t -ln p(x_t | x_<t) / tokens)
    perplexity, word    = exp((sum_t -ln p(x_t | x_<t) + spelling) / (words + documents))

Conventions:

- The sum runs over every token of every held-out document and over the separator that ends each
  document; the separator that starts the stream is given, and free.
- ``bytes`` are those of the text as it was handed to the tokenizer: after the cleaning rules, which
  define what is modelled, and before any segmentation or normalisation by the tokenizer.
  Comparisons need the same text: the ``text_sha256`` of every split is recorded for that, which is
  the same under all tokenizers and another under other cleaning, splits or caps.
- ``spelling`` is what unknown pieces cost to spell out, p(piece) = p(unknown) * p_spell(piece); an
  upper bound, as p_spell also spells known pieces. Without a spelling model a vocabulary with
  unknowns assigns the string no probability: bits per byte is then undefined (None), not a number.
- With subwords the canonical segmentation is one of several, so bits per byte is an upper bound.
- A word is a run between white space; a document's end counts as one more (the <eos> of
  word-level corpora). Written Chinese has no such words: perplexity per word is then undefined.
"""

import math


def bits_per_byte(nats: float, spelling_nats: float, text_bytes: int) -> float | None:
    """Bits per UTF-8 byte; None where the spelling cost is NaN or there are no bytes."""
    total = nats + spelling_nats
    if math.isnan(total) or text_bytes == 0:
        return None
    return total / (text_bytes * math.log(2))


def perplexity(nats: float, units: int) -> float | None:
    """exp(nats / units); None where that is undefined, inf where it overflows."""
    if math.isnan(nats) or units == 0:
        return None
    try:
        return math.exp(nats / units)
    except OverflowError:
        return math.inf
