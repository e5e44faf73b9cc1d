"""The training loop, optimizers, hardware settings, CUDA graphs, the checkpoint file, signals and threads."""
