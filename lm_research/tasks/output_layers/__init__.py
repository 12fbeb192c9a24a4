"""Output layers of a language model: how log p(next) is computed, and how it is learned."""
