"""From documents to token ids: cleaning rules, tokenizers, part-of-speech tags."""
