"""`dphub demo`: shows the hub working on any machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.sockets import SOCKET_PATH_BYTES
from hub.base.stopsignals import stop_signals
from hub.base.untrusted import MAX_STATE, UnreadableError, read_text
from hub.cli.render.text import echo_json, examples
from hub.supervisor.config.watchers import read_config, shipped_config

if TYPE_CHECKING:
    from hub.cli.demosteps import Step

ROOT_BYTES = SOCKET_PATH_BYTES - len("/device-plugins/dphub-example.com_stub.sock")
"""Maximum length in bytes of the path of the demo's directory."""


@click.command(epilog=examples("dphub demo", "dphub demo --json"))
@click.option("--json", "as_json", is_flag=True, help="Print the steps as one JSON document.")
def demo(as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Demonstrate the hub and its plugins with a fake kubelet in a temporary directory; needs no hardware or root."""
    from hub.testing.kubelet import AdmissionError, ContainerStartError  # noqa: PLC0415 - gRPC takes 0.2 s to load

    with _temporary_directory() as root:
        show = _Document() if as_json else _Screen()
        try:
            asyncio.run(_run(Path(root), show))
        except asyncio.CancelledError:
            raise click.Abort from None
        except (TimeoutError, RuntimeError, AdmissionError, ContainerStartError) as error:
            show.failed(str(error), _log(Path(root, "hub.log")))
            sys.exit(Exit.FAILED)
        show.end()


def _log(path: Path) -> str:
    try:
        return read_text(path, max_bytes=MAX_STATE, errors="replace")
    except UnreadableError:
        return ""


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    try:
        root = tempfile.TemporaryDirectory(prefix="dphub-")
    except OSError as error:
        raise ConfigError("TMPDIR", f"cannot use any directory for temporary files: {error.strerror}") from None
    if len(os.fsencode(root.name)) > ROOT_BYTES:
        root.cleanup()
        raise ConfigError("TMPDIR", f"the path {root.name} is too long for sockets; choose a shorter one, such as /tmp")
    return root


async def _run(root: Path, show: _Screen | _Document) -> None:
    from hub.cli.demosteps import run_demo  # noqa: PLC0415 - as above
    from hub.testing.node import Node  # noqa: PLC0415 - as above

    _stop_on_signals()
    config = shipped_config()
    plugins = [plugin.name for plugin in read_config(config) if plugin.autostart]
    async with Node(root, config) as node:
        async for step in run_demo(node, plugins):
            show.step(step)


def _stop_on_signals() -> None:
    """Stop the demo at the first signal, since one that killed this process at once would leave the hub running.

    Later signals have no effect: the hub stops within its time limit, and its directory is removed after that.
    """
    task = asyncio.current_task()

    def stop() -> None:
        if task and not task.cancelling():
            task.cancel()

    for number in (*stop_signals(), signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop)


class _Screen:
    """Human-readable output: each step as it happens."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._console.print("[bold]Device Plugin Hub[/]: a fake kubelet, and the real hub with the shipped circus.ini")

    def step(self, step: Step) -> None:
        took = f"  {step.seconds:.2f} s" if step.seconds is not None else ""
        self._console.print()
        self._console.print(Text.assemble((step.title, "bold green"), (took, "cyan")))
        self._console.print(Text(step.text))
        if step.rows:
            self._console.print(_table(step))

    def failed(self, error: str, log: str) -> None:
        self._console.print(Text(f"\nThe demo failed: {error}\n\nThe hub's log:\n{log}", style="red"))

    def end(self) -> None:
        self._console.print(
            "\nDone. To write a plugin, see docs/writing-a-plugin.md; to run the hub on nodes, see docs/install.md."
        )


class _Document:
    """Output for programs: one document at the end."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def step(self, step: Step) -> None:
        self._steps.append(step)

    def failed(self, error: str, log: str) -> None:
        self._print({"ok": False, "error": error, "log": log.splitlines(), "steps": self._steps})

    def end(self) -> None:
        self._print({"ok": True, "steps": self._steps})

    def _print(self, document: dict[str, object]) -> None:
        echo_json(document)


def _table(step: Step) -> Table:
    table = Table(header_style="dim", border_style="dim")
    for column in step.rows[0]:
        table.add_column(column, overflow="fold")
    for row in step.rows:
        table.add_row(*(Text(value) for value in row.values()))
    return table
