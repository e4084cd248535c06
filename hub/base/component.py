"""The start of a process that the hub runs alongside the plugins: its command line, its log, and its run directory."""

import argparse
import os
import socket
from collections.abc import Callable
from pathlib import Path

from hub.base.clibrary import skip_c_library_search
from hub.base.errors import ConfigError, HubError
from hub.base.exits import Exit
from hub.base.log import LogFormat, LogLevel, configure, get_logger
from hub.base.paths import INSTANCE, INSTANCE_NAME, RUN_DIR, RunDir

NODE_NAME_VARIABLE = "DPHUB_NODE_NAME"


def parser_for(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every such process.

    Args:
        module: The module that `python -m` runs.
        description: What the process does.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description, allow_abbrev=False)
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=os.environ.get("DPHUB_RUN_DIR", RUN_DIR),
        help="the hub's run directory",
    )
    return parser


def run_component(
    name: str, parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace, RunDir, str], Exit]
) -> int:
    """Read the command line and run.

    Args:
        name: The process's name, in its section of circus.ini and in the log.
        parser: The command line.
        run: Runs with the options, the run directory and the node's name.
    """
    os.umask(0o077)
    skip_c_library_search()
    plugin = os.environ.get("DPHUB_PLUGIN", name)
    configure(LogLevel.INFO, LogFormat.AUTO, plugin=plugin)
    try:
        options = parser.parse_args()
        run_dir = RunDir(options.run_dir, os.environ.get("DPHUB_INSTANCE", INSTANCE))
        _check(run_dir)
        configure(plugin=plugin, keep=run_dir.log(plugin))
        return run(options, run_dir, os.environ.get(NODE_NAME_VARIABLE) or socket.gethostname())
    except HubError as error:
        get_logger().error("component not started", reason=str(error))
        return Exit.USAGE


def _check(run_dir: RunDir) -> None:
    """Reject a run directory that is not a directory, or that others can enter or replace."""
    if not INSTANCE_NAME.fullmatch(run_dir.instance):
        raise ConfigError("DPHUB_INSTANCE", f'is "{run_dir.instance}", expected lower-case letters, digits and "-"')
    if not run_dir.path.is_dir():
        raise ConfigError(run_dir.path, "not a directory, expected the hub's run directory")
    run_dir.secure()
