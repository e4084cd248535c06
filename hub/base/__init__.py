"""What all processes share; it does not implement any kubelet API, or depend on any particular plugin."""
