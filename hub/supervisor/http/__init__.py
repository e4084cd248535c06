"""The hub's HTTP endpoints and its page."""
