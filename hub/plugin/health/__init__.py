"""Whether devices can be used, kept across restarts."""
