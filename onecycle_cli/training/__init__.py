"""The training step: one loop with its optimizers, its hardware, CUDA graphs, checkpoint file, signals and threads."""
