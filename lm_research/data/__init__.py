"""Where text comes from: documents, sources, mixtures, splits, the token store, batches."""
