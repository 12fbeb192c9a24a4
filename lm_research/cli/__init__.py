"""The command ``lm-research``: verbs that compose a configuration and put the parts together."""
