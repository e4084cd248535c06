"""Passes the health of devices between the hub and NVSentinel, in both directions."""
