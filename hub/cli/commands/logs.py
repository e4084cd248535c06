"""`dphub logs`: the latest log lines of a node's processes."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec
from asyncinotify import Inotify, Mask

from hub.base.exits import Exit
from hub.base.locks import existing_lock, is_locked
from hub.base.log import console_renderer
from hub.base.logfile import rotated
from hub.base.paths import RunDir
from hub.base.printable import printable_json
from hub.base.untrusted import MissingError, UnreadableError, decode_json, read_bytes
from hub.cli.completing import plugins
from hub.cli.options import lines_option
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options, plugin_of

Line = dict[str, Any]

CHECK_SECONDS = 1.0
"""Seconds between checks of whether the hub is still running; no file event shows that it has exited."""

_TOO_DEEP = "(nested too deeply to show)"


@click.command(epilog=examples("dphub logs gpu -n 20", "dphub logs -f", "dphub logs gpu --json | jq ."))
@click.argument("plugin", required=False, shell_complete=plugins)
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until interrupted, or until the hub exits.")
@lines_option("Show the last N lines; 0 shows all.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are stored, one JSON object each.")
@hub_options
def logs(plugin: str | None, *, follow: bool, lines: int, as_json: bool, hub: TargetHub) -> None:
    """Show the latest log lines of PLUGIN and what the hub logged about it, or of the hub and all plugins."""
    status = hub.status()
    names = [each.name for each in status.plugins]
    if plugin is not None and not hub.run_dir.log(plugin).exists():
        plugin_of(status, plugin)
    files = [hub.run_dir.hub_log, *map(hub.run_dir.log, [plugin] if plugin else names)]
    show = _as_json if as_json else _as_text()

    def concerns(line: Line) -> bool:
        return plugin is None or line.get("plugin") == plugin

    tails = [_Tail(file) for file in files]
    found = [line for line in _sorted(tails) if concerns(line)]
    _print(map(show, found[-lines:] if lines else found))
    if follow:
        with suppress(KeyboardInterrupt):
            asyncio.run(_follow(hub.run_dir, tails, lambda new: _print(map(show, filter(concerns, new)))))
            echo(f"There is no running hub in {hub.run_dir.path}.", error=True)
            sys.exit(Exit.FAILED)


class _Tail:
    """Reads the new lines of a log file; a file that was rotated is read to its end.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first = True
        self._inode = 0
        self._read = 0

    def lines(self) -> Iterator[Line]:
        """Read the lines that have not been read yet."""
        if self._first:
            self._first = False
            yield from _decoded(_bytes(rotated(self._path)))
        elif _inode(self._path) != self._inode:
            if _inode(rotated(self._path)) == self._inode:
                yield from _decoded(_bytes(rotated(self._path))[self._read :])
            self._read = 0
        self._inode = _inode(self._path)
        content = _bytes(self._path)[self._read :]
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from _decoded(whole)


async def _follow(run_dir: RunDir, tails: Iterable[_Tail], show: Callable[[Iterable[Line]], None]) -> None:
    """Show new lines until the hub exits, or its run directory is gone."""
    with Inotify() as inotify:
        try:
            inotify.add_watch(run_dir.path, Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO)
        except FileNotFoundError:
            return
        running = True
        while running:
            # Checked before the lines are read, so that the hub's last lines are among them.
            running = _is_running(run_dir)
            show(_sorted(tails))
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS if running else 0):
                    await inotify.get()


def _is_running(run_dir: RunDir) -> bool:
    try:
        with existing_lock(run_dir.lock) as file:
            return is_locked(file)
    except OSError:
        return False


def _print(lines: Iterable[str]) -> None:
    # The lines are printable, except for the color codes of the renderer.
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _sorted(tails: Iterable[_Tail]) -> list[Line]:
    return sorted((line for tail in tails for line in tail.lines()), key=lambda line: str(line.get("timestamp")))


def _decoded(content: bytes) -> Iterator[Line]:
    """Decode the lines of a file, without those that a full disk has truncated."""
    for line in content.splitlines():
        try:
            yield decode_json(line, dict[str, Any], "line")
        except UnreadableError:
            continue


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except MissingError:
        return b""


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _as_json(line: Line) -> str:
    return printable_json(msgspec.json.encode(line)).decode()


def _as_text() -> Callable[[Line], str]:
    render = console_renderer(colors=sys.stdout.isatty())

    def show(line: Line) -> str:
        try:
            return str(render(None, "", dict(line)))
        except RecursionError:
            # A plugin can log a value that is nested so deeply that Python can decode but not print it.
            return show({key: _TOO_DEEP if isinstance(value, dict | list) else value for key, value in line.items()})

    return show
