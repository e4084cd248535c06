"""The agent: a process of its own that passes information about the node's devices between the hub and the cluster.

It reads the hub's status from the files in the run directory, and never queries a plugin about its devices.
"""
