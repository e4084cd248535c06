"""All that circus sees of the hub."""
