"""circus.ini: how it is read, and the watchers that it lists."""
