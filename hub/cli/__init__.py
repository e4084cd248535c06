"""The command line, `dphub`."""

import importlib
import sys

import click

from hub._version import __version__
from hub.errors import HubError
from hub.exits import Exit

COMMANDS = {
    "run": "Run the hub: every plugin of this node under one supervisor.",
    "check": "Check the configuration of the hub and its plugins, and start nothing.",
    "demo": "Show a kubelet, the hub and its plugins at work, on any machine.",
    "kubelet": "Run a fake kubelet to try plugins against.",
}
"""The commands and what they are for. Each is `hub.cli.NAME`, imported when it is used: the hub would otherwise carry
the fake kubelet's gRPC, and every command the terminal library."""


class _Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"hub.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dphub")
def cli() -> None:
    """All Kubernetes device plugins of a node in one pod."""


def main() -> None:
    """Run a command; a fault that a person can mend is one line and exit code 2."""
    try:
        cli.main(prog_name="dphub", standalone_mode=True)
    except HubError as error:
        click.echo(f"dphub: {error}", err=True)
        sys.exit(Exit.USAGE)
