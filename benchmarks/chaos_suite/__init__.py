"""What `benchmarks/chaos.py` is made of: jobs over all there is, moments, equality of two runs."""
