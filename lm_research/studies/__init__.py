"""Studies: which runs a file of sweeps/ means, who each of them is, and where they stand."""
