"""Whether the plugins of a circus.ini could start, without starting one."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from circus.util import parse_env_dict, replace_gnu_args

from hub.base.errors import HubError
from hub.base.exits import signal_name
from hub.model.check import CheckReport
from hub.supervisor.config.watchers import HUB_PLUGIN, PluginConfig
from hub.supervisor.options import HubSettings


def run_check(
    command: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
    quiet: bool = False,
) -> CheckReport:
    """Start a plugin process that checks itself and ends.

    Args:
        command: The process, with what it is to check.
        directory: Where it runs; by default here.
        environment: All of its variables; by default those of this process.
        limit: Seconds for it.
        quiet: Whether what the plugin's code prints is kept back.

    Raises:
        HubError: it could not be started, or came to no result.
    """
    try:
        done = subprocess.run(  # noqa: S603 - ourselves, or what the hub would start
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HubError(f"it has not read its configuration within {limit:g} s") from None
    except OSError as error:
        raise HubError(f"it cannot be started: {error}") from None
    try:
        return msgspec.json.decode(done.stdout, type=CheckReport)
    except msgspec.DecodeError:
        lines = [line for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
        code = done.returncode
        how = f"it was killed by {signal_name(-code)}" if code < 0 else f"it ended with exit code {code}"
        raise HubError(lines[-1] if lines else how) from None


LIMIT = 20.0
"""Seconds for a plugin to read its configuration."""


def check_plugins(
    plugins: Sequence[PluginConfig], settings: HubSettings, directory: Path | None = None
) -> list[CheckReport]:
    """What is wrong with each plugin's command, class and configuration.

    Args:
        plugins: The plugins.
        settings: The hub.
        directory: Where it runs; by default here.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        return list(workers.map(lambda plugin: check_plugin(plugin, settings, directory or Path.cwd()), plugins))


def check_plugin(plugin: PluginConfig, settings: HubSettings, directory: Path) -> CheckReport:
    """What is wrong with one plugin.

    A plugin of ours loads its class and its configuration, with the variables that it would have, and ends. Of any
    other command only its program is looked for.
    """
    environment = parse_env_dict(settings.environment(plugin.name, parse_env_dict(plugin.env)))
    command = _words(plugin, environment)
    program = sys.executable if command[0] == "python" else command[0]
    if command[1:3] != HUB_PLUGIN:
        there = shutil.which(program, path=environment["PATH"])
        return CheckReport(() if there else (f"there is no program {program}",))
    command = [program, *command[1:], "--check"]
    directory /= plugin.working_dir or ""
    try:
        return run_check(command, directory=directory, environment=environment, limit=LIMIT, quiet=True)
    except HubError as error:
        return CheckReport((str(error),))


def _words(plugin: PluginConfig, environment: dict[str, str]) -> list[str]:
    """The command as circus would run it."""
    line = " ".join(part for part in (plugin.cmd, plugin.args) if part)
    return shlex.split(replace_gnu_args(line, env=environment))
