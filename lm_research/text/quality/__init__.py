"""Heuristics of quality as published: C4, Gopher, FineWeb."""
