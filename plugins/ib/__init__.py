"""InfiniBand and RDMA devices."""
