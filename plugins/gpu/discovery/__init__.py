"""Facts about the GPUs on a node, and the location of their driver."""
