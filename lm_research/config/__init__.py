"""Schemas, validation and the one allow-listed :func:`build`; imports no torch."""
