"""Checks of the plugins in a circus.ini, without starting them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.base.exits import signal_name
from hub.base.interpreter import own_python
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.check import CHECKED_VARIABLES, CheckReport
from hub.supervisor.config.command import plugin_arguments
from hub.supervisor.config.watchers import PluginConfig
from hub.supervisor.settings import HubSettings


def run_check(
    command: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
    quiet: bool = False,
) -> CheckReport:
    """Start a plugin process that checks itself and exits.

    Args:
        command: The command, including the option that makes the process check itself.
        directory: The working directory; by default that of this process.
        environment: All of its variables; by default those of this process.
        limit: Seconds for the check.
        quiet: Whether to hide what the plugin's code prints.

    Raises:
        HubError: the process could not be started, or printed no result.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this program, or a command that the hub would start
            command,
            cwd=directory,
            env=environment,
            # On a terminal, PYTHONINSPECT in circus.ini would make Python an interactive interpreter.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HubError(f"it did not read its configuration within {limit:g} s") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte, which no command can have
        raise HubError(f"it cannot be started: {error}") from None
    return _report(done)


def _report(done: "subprocess.CompletedProcess[bytes]") -> CheckReport:
    try:
        return decode_json(done.stdout, CheckReport, "report")
    except UnreadableError:
        lines = [line for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
        code = done.returncode
        how = f"it was killed by {signal_name(-code)}" if code < 0 else f"it exited with code {code}"
        raise HubError(lines[-1] if lines else how) from None


LIMIT = 20.0
"""Seconds for a plugin to read its configuration."""


def check_plugins(plugins: Sequence[PluginConfig], settings: HubSettings, *, load: bool) -> list[CheckReport]:
    """Check the command, class and configuration of each plugin.

    Args:
        plugins: The plugins.
        settings: The settings of the hub.
        load: Whether to load the code of plugins that do not come with the hub.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        return list(workers.map(lambda plugin: check_plugin(plugin, settings, load=load), plugins))


def check_plugin(plugin: PluginConfig, settings: HubSettings, *, load: bool, hardware: bool = False) -> CheckReport:
    """Check one plugin, without running anything that circus.ini names except, with `load`, the plugin's code.

    With `hardware`, only query it for the hardware that it supports.

    A plugin process of the hub loads its class and its configuration, with the variables that it would have, and exits.
    For any other command, only the existence of the program is checked.
    """
    environment = settings.environment(plugin.name, plugin.env)
    program = plugin.command[0]
    arguments = plugin_arguments(plugin.command)
    if arguments is None or program not in {"python", sys.executable}:
        there = program == "python" or shutil.which(program, path=environment["PATH"])
        return CheckReport(() if there else (f"there is no program {program}",))
    options = ["--check", *(["--hardware"] if hardware else []), *([] if load else ["--shipped-only"])]
    if not load:
        environment = _harmless(settings, plugin.name, plugin.env)
    command = own_python("hub.plugin", *options, *arguments)
    try:
        return run_check(command, directory=Path(plugin.working_dir), environment=environment, limit=LIMIT, quiet=True)
    except HubError as error:
        return CheckReport((str(error),))


def _harmless(settings: HubSettings, plugin: str, configured: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a check in which the variables of circus.ini cannot load code.

    Some variables, such as LD_PRELOAD, make the loader, Python or a library load a file when a process starts. So all
    variables except the hub's own are passed as text, and the process sets them after it has loaded its code.
    """
    ours = {name: value for name, value in configured.items() if name.startswith("DPHUB_")}
    return settings.environment(plugin, ours) | {CHECKED_VARIABLES: msgspec.json.encode(configured).decode()}
