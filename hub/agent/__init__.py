"""The agent: a process of its own that exchanges what the cluster and the hub know about the node's devices.

It reads the hub's status from the files in the run directory, and never asks a plugin about its devices.
"""
