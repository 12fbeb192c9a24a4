"""What happens beside the training loop: rows of metrics, evaluations, checkpoints, samples."""
