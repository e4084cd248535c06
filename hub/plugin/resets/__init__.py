"""Resets of devices: before a container starts, on request, and to recover."""
