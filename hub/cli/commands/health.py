"""`dphub health`: checks that the hub responds, for a container's health check."""

import sys
from http.client import HTTPConnection, HTTPException

import click

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options

LIMIT = 5.0
"""Seconds for a response, which takes milliseconds while the hub's event loop runs."""


@click.command(epilog=examples("dphub health && echo alive"))
@hub_options
def health(hub: TargetHub) -> None:
    """Check that the hub responds; the exit code is 0 when it does, whatever is wrong on the node."""
    status = hub.live_status()
    if not status.hub.report.http:
        # Its control socket accepts connections.
        echo("ok (no HTTP)")
        sys.exit(Exit.OK)
    host, _, port = status.hub.report.http.rpartition(":")
    # A hub that listens on all addresses is reached on the loopback address.
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - nothing is bound here
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=LIMIT)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        text = response.read().decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        raise HubError(f"the hub does not answer on {status.hub.report.http}: {error}") from None
    echo(text)
    sys.exit(Exit.OK if response.status == 200 else Exit.FAILED)  # noqa: PLR2004 - HTTP's code for success
