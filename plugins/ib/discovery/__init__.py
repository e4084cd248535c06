"""Which RDMA devices a node has, as its kernel shows them."""
