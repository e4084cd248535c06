"""`python -m hub`: the command line, for where the `dphub` script is not on the path."""

from hub.cli import main

main()
