"""A small client of the Kubernetes API server, for the few processes that call it."""
