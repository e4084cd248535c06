"""Facts about the GPUs on a node, and where its driver is."""
