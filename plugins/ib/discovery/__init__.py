"""Discovery of the RDMA devices and routes of a node."""
