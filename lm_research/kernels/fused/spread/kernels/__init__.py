"""The kernels themselves, a module a cell."""
