"""One module per kind of source; each class is named by ``_target_`` in a YAML of conf/data/."""
