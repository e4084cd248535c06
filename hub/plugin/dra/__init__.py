"""Dynamic resource allocation: the other API with which a kubelet gives devices to containers."""
