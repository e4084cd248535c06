"""How fast the hub is, measured against a fake kubelet on this machine."""
