"""A plugin process: what connects a plugin's devices to the kubelet."""
