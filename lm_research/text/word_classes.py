"""Which characters make words, as parts of regular expressions."""

from lm_research.text.unicode import COMBINING_MARKS

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LETTERS = rf"[^\W\d_{HAN}]"
JOINERS = f"[{COMBINING_MARKS}\u200c\u200d]"
"""``re`` takes marks for no letters; Indic and Persian words also need the zero-width joiners."""
APOSTROPHES = "['’]"
REPEATED_PUNCTUATION = ".-=*#/!?~_"
"""Stays together with its like."""
LONGEST_RUN = 64
