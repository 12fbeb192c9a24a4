"""Bits per byte, perplexities, accuracy, precision, recall, F1; FLOPs and throughput."""
