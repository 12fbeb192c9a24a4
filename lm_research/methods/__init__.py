"""What ``lm-research reproduce`` can run that is no training run."""
