"""`python -m hub`: the command line, for when the `dphub` script is not on PATH."""

from hub.cli import main

main()
