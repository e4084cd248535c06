"""Whether the plugins of a circus.ini could start, without starting one."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from circus.util import parse_env_dict, replace_gnu_args

from hub.supervisor.config import HUB_PLUGIN, PluginConfig
from hub.supervisor.settings import HubSettings

LIMIT = 20.0
"""Seconds for a plugin to read its configuration."""


def check_plugins(plugins: Sequence[PluginConfig], settings: HubSettings, directory: Path | None = None) -> list[str]:
    """What is wrong with each plugin's command and configuration; an empty text for those that are right.

    Args:
        plugins: The plugins.
        settings: The hub.
        directory: Where it runs; by default here.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        return list(workers.map(lambda plugin: check_plugin(plugin, settings, directory or Path.cwd()), plugins))


def check_plugin(plugin: PluginConfig, settings: HubSettings, directory: Path) -> str:
    """What is wrong with one plugin; empty where nothing is.

    A plugin of ours loads its class and its configuration, with the variables that it would have, and ends. Of any
    other command only its program is looked for.
    """
    environment = parse_env_dict(settings.environment(plugin.name, parse_env_dict(plugin.env)))
    command = _words(plugin, environment)
    program = sys.executable if command[0] == "python" else command[0]
    if command[1:3] != HUB_PLUGIN:
        there = shutil.which(program, path=environment["PATH"])
        return "" if there else f"there is no program {program}"
    try:
        done = subprocess.run(  # noqa: S603 - what the hub itself would start
            [program, *command[1:], "--check"],
            cwd=directory / (plugin.working_dir or ""),
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it has not read its configuration within {LIMIT:g} s"
    except OSError as error:
        return f"it cannot be started: {error}"
    return "" if done.returncode == 0 else _said(done.stderr) or f"it ended with exit code {done.returncode}"


def _words(plugin: PluginConfig, environment: dict[str, str]) -> list[str]:
    """The command as circus would run it."""
    line = " ".join(part for part in (plugin.cmd, plugin.args) if part)
    return shlex.split(replace_gnu_args(line, env=environment))


def _said(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
