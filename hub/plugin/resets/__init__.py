"""When devices are reset: before a container starts, on request, and to recover."""
