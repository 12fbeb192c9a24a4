"""Protocols of evaluation: how a trained language model reads the text that it is scored on."""
