"""The public test kit: a fake kubelet, and a node in a temporary directory."""
