"""Inputs that nobody meant: valid files, mutated, and what may come of reading them."""
