"""Facts about the Intel GPUs on a node."""
