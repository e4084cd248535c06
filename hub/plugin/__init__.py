"""A plugin process: what stands between a plugin's devices and the kubelet."""
