"""What all processes share; it implements no kubelet API, and knows no particular plugin."""
