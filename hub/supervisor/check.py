"""Checks of the plugins in a circus.ini, without starting them."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from circus.util import parse_env_dict, replace_gnu_args

from hub.base.errors import HubError
from hub.base.exits import signal_name
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.check import CheckReport
from hub.supervisor.config.watchers import PluginConfig, plugin_arguments
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
        command: The command, including the option that has it check itself.
        directory: The working directory; by default that of this process.
        environment: All of its variables; by default those of this process.
        limit: Seconds for the check.
        quiet: Whether to hide what the plugin's code prints.

    Raises:
        HubError: it could not be started, or gave no result.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this program, or a command that the hub would start
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HubError(f"it did not read its configuration within {limit:g} s") from None
    except OSError as error:
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


def check_plugins(plugins: Sequence[PluginConfig], settings: HubSettings) -> list[CheckReport]:
    """Check the command, class and configuration of each plugin."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        return list(workers.map(lambda plugin: check_plugin(plugin, settings), plugins))


def check_plugin(plugin: PluginConfig, settings: HubSettings) -> CheckReport:
    """Check one plugin.

    A plugin process of the hub loads its class and its configuration, with the variables that it would have, and exits.
    Of any other command, only the existence of the program is checked.
    """
    environment = parse_env_dict(settings.environment(plugin.name, parse_env_dict(plugin.env)))
    command = _words(plugin, environment)
    program = sys.executable if command[0] == "python" else command[0]
    arguments = plugin_arguments(command)
    if arguments is None:
        there = shutil.which(program, path=environment["PATH"])
        return CheckReport(() if there else (f"there is no program {program}",))
    command = [program, "-P", "-m", "hub.plugin", *arguments, "--check"]
    try:
        return run_check(command, directory=Path(plugin.working_dir), environment=environment, limit=LIMIT, quiet=True)
    except HubError as error:
        return CheckReport((str(error),))


def _words(plugin: PluginConfig, environment: dict[str, str]) -> list[str]:
    """Return the words of the command as circus would run it."""
    line = " ".join(part for part in (plugin.cmd, plugin.args) if part)
    return shlex.split(replace_gnu_args(line, env=environment))
