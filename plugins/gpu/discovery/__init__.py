"""Facts about the GPUs of a node, and where its driver is."""
