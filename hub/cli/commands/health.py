"""`dphub health`: checks that the hub responds, for a container's health check."""

import sys

import click

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.cli.probe import ask
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options


@click.command(epilog=examples("dphub health && echo alive"))
@hub_options
def health(hub: TargetHub) -> None:
    """Check that the hub responds; the exit code is 0 when it does, whatever is wrong on the node."""
    hub.live_status()
    try:
        code, text = ask(str(hub.run_dir.http_socket), "/healthz")
    except OSError as error:
        raise HubError(f"the hub does not respond on {hub.run_dir.http_socket}: {error}") from None
    echo(text)
    sys.exit(Exit.OK if code == 200 else Exit.FAILED)  # noqa: PLR2004 - HTTP's code for success
