"""Reading circus.ini: its text, and the plugins in it."""
