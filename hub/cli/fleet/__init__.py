"""`kubectl dphub`: the hubs of all nodes, from an administrator's own machine.

kubectl runs `kubectl-dphub`, a program on PATH. It needs kubectl and a network connection to the cluster, but no hub,
no root, and none of the libraries with which a hub runs plugins.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from hub._version import __version__
from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.wording import did_you_mean
from hub.cli import HELP, escape_unencodable_output
from hub.cli.fleet.changes import cordon, restart, uncordon
from hub.cli.fleet.lists import devices, history, list_holders, problems, status
from hub.cli.render.text import echo

PROGRAM = "kubectl dphub"

_TERMINATED = 128 + signal.SIGTERM


class _Group(click.Group):
    """A group that lists its commands in the order in which it gets them, and suggests names for misspelled ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            ctx.fail(f"there is no command {name}{did_you_mean(name, self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    commands={
        command.name or "": command
        for command in (status, devices, problems, list_holders, history, cordon, uncordon, restart)
    },
    context_settings={"help_option_names": HELP},
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Show and manage the device plugins on all nodes of a cluster, with your kubectl and your permissions."""


def main() -> None:
    """Run a command. If it fails with an error that the user can fix, print that on one line, and exit with code 2."""
    escape_unencodable_output()
    # On SIGTERM, as on an interrupt, all processes that were started are stopped.
    signal.signal(signal.SIGTERM, _exit)
    try:
        cli.main(prog_name=PROGRAM, standalone_mode=True)
    except HubError as error:
        echo(f"{PROGRAM}: {error}", error=True)
        sys.exit(Exit.USAGE)


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(_TERMINATED)
