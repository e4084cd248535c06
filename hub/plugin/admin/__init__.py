"""Commands that an administrator sends to a running plugin."""
