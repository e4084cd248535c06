"""The commands of an administrator to a running plugin."""
