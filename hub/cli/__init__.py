"""The command line, `dphub`."""

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

import click

from hub._version import __version__
from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.wording import did_you_mean
from hub.cli.render.text import echo

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP = ["-h", "--help"]

COMPLETE_VARIABLE = "_DPHUB_COMPLETE"
"""The environment variable with which a shell requests completions."""

SECTIONS = {
    "Run": {
        "run": ("run", "Run the hub: all plugins on this node under one supervisor."),
        "check": ("check", "Check the configuration of the hub and its plugins without starting anything."),
        "suggest": ("suggest", "Show which plugins support this node's hardware."),
        "install-service": ("service", "Install the hub as a service that starts before the kubelet."),
        "uninstall-service": ("service", "Stop that service, and remove it."),
    },
    "Inspect": {
        "status": ("status", "Show the hub, its plugins and resources, and what is wrong."),
        "devices": ("devices", "Show every device and the container that uses it."),
        "history": ("history", "Show which containers used which devices, and when."),
        "logs": ("logs", "Show the latest log lines of one plugin or of all."),
        "health": ("health", "Check that the hub responds, for a container's health check."),
    },
    "Manage": {
        "restart": ("lifecycle", "Restart a plugin; the other plugins keep running."),
        "stop": ("lifecycle", "Stop a plugin."),
        "start": ("lifecycle", "Start a plugin that was stopped."),
        "reload": ("reload", "Check the configuration, then apply its changes."),
        "cordon": ("admin", "Mark a device unschedulable; containers that use it keep it."),
        "uncordon": ("admin", "Make a device schedulable again."),
        "report": ("report", "Report that a device cannot be used, as other programs on the node can."),
        "reset": ("admin", "Reset a device now, if no container uses it."),
        "log-level": ("admin", "Change a plugin's log level until it is restarted."),
    },
    "Develop": {
        "demo": ("demo", "Demonstrate the hub and its plugins with a fake kubelet, on any machine."),
        "fake-kubelet": ("fake_kubelet", "Run a fake kubelet to test plugins against."),
        "verify": ("verify", "Check whether a device plugin, in any language, behaves as the kubelet expects."),
    },
    "Help": {
        "help": ("help", "Show the help of a command or topic; dphub help -h lists the topics."),
        "completion": ("completion", "Print the script that completes commands and names in bash, zsh or fish."),
    },
}
"""The commands, each with its module in `hub.cli.commands` and its purpose. A module is imported only when its
command is used: otherwise, the hub would load the fake kubelet's gRPC, and every command the terminal library."""

COMMANDS = {name: where for section in SECTIONS.values() for name, where in section.items()}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"hub.cli.commands.{module}"), cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            return None
        # click builds a command's help option only once, for the first context that needs it.
        command.get_help_option(click.Context(command, help_option_names=HELP))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {name}{did_you_mean(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Complete commands without importing them, and options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only completion needs it

        begun = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return begun + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": HELP})
@click.version_option(__version__, prog_name="dphub")
def cli() -> None:
    """All of a node's Kubernetes device plugins in one pod."""


def main() -> None:
    """Run a command. If it fails with an error that the user can fix, print that on one line, and exit with code 2."""
    escape_unencodable_output()
    try:
        if COMPLETE_VARIABLE in os.environ:
            # This module registers the completion for bash.
            importlib.import_module("hub.cli.commands.completion")
        cli.main(prog_name="dphub", complete_var=COMPLETE_VARIABLE, standalone_mode=True)
    except HubError as error:
        echo(f"dphub: {error}", error=True)
        sys.exit(Exit.USAGE)


def escape_unencodable_output() -> None:
    """Escape characters that the terminal's encoding cannot represent."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
