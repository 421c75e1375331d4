"""Training of encoder tasks, with PyTorch: `run.train` goes from a configuration to checkpoints."""
