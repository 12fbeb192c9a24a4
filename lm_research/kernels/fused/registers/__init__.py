"""Scans in Triton's Gluon dialect."""
