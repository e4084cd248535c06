"""The plugins that ship with the hub."""
