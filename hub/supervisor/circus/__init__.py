"""The only code that uses circus: the arbiter, the watchers, commands and the client."""
