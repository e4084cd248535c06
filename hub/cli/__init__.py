"""The command line, `dphub`."""
