"""What the hub answers over HTTP, and its page."""
