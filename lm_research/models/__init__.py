"""Architectures, one file each, under one contract: x_BTD, state -> y_BTH, state."""
