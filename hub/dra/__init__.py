"""The DRA process: it reads claims from the API server, and publishes the devices of this node's drivers."""
