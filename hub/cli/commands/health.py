"""`dphub health`: does the hub live? For a container's health check."""

import sys
from http.client import HTTPConnection, HTTPException

import click

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options

LIMIT = 5.0
"""Seconds for an answer, which takes milliseconds while the hub's event loop turns."""


@click.command(epilog=examples("dphub health && echo alive"))
@hub_options
def health(hub: TargetHub) -> None:
    """Ask the hub whether it lives; the exit code is 0 when it answers, whatever is wrong on the node."""
    status = hub.live_status()
    if not status.hub.report.http:
        # It listens on its control socket at least.
        echo("ok (no HTTP)")
        sys.exit(Exit.OK)
    host, _, port = status.hub.report.http.rpartition(":")
    # Who listens on all addresses is asked on the loopback one.
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - nothing is bound here
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=LIMIT)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        raise HubError(f"the hub does not answer on {status.hub.report.http}: {error}") from None
    echo(said)
    sys.exit(Exit.OK if answer.status == 200 else Exit.FAILED)  # noqa: PLR2004 - known to everybody
