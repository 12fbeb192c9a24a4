"""What `benchmarks/kernels.py` is made of: correctness (check) and speed of the fused scans."""
