"""All device plugins of a node in one pod."""
