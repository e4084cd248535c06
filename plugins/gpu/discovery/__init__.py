"""Which GPUs a node has, and where its driver is."""
