"""What an administrator asks of a running plugin."""
