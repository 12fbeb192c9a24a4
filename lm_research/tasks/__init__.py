"""LightningModules that join a vectorizer, a model and a head; nothing here names an architecture."""
