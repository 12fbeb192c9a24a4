"""LightningModules that join a vectorizer, a model and a head; nothing names an architecture."""
