"""`python -m hub.agent`: run the agent."""

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

from hub.base.clibrary import know_c_library
from hub.base.errors import ConfigError, HubError
from hub.base.exits import Exit
from hub.base.log import LogFormat, LogLevel, configure, get_logger
from hub.base.paths import INSTANCE, INSTANCE_NAME, RUN_DIR, RunDir

ACCOUNT_DIR = Path("/run/dphub-agent")
"""Where the manifests mount the token. It is not where client libraries look for one, so no other process finds it by
mistake."""

NODE_NAME_VARIABLE = "DPHUB_NODE_NAME"


def main() -> int:
    """Read the command line and run."""
    os.umask(0o077)
    know_c_library()
    name = os.environ.get("DPHUB_PLUGIN", "agent")
    configure(LogLevel.INFO, LogFormat.AUTO, plugin=name)
    try:
        options = _parse()
        run_dir = RunDir(options.run_dir, os.environ.get("DPHUB_INSTANCE", INSTANCE))
        _check(run_dir)
        configure(plugin=name, keep=run_dir.log(name))
        return _run(options, run_dir)
    except HubError as error:
        get_logger().error("agent not started", reason=str(error))
        return Exit.USAGE


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m hub.agent", description="Run the agent of a node.", allow_abbrev=False
    )
    parser.add_argument("--config", type=Path, help="its configuration file (YAML or JSON)")
    parser.add_argument(
        "--account", type=Path, default=ACCOUNT_DIR, help="the directory with the files token and ca.crt"
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=os.environ.get("DPHUB_RUN_DIR", RUN_DIR),
        help="the hub's run directory",
    )
    return parser.parse_args()


def _check(run_dir: RunDir) -> None:
    """Reject a run directory that is not one, or that others can enter or replace."""
    if not INSTANCE_NAME.fullmatch(run_dir.instance):
        raise ConfigError("DPHUB_INSTANCE", f'is "{run_dir.instance}", expected lower-case letters, digits and "-"')
    if not run_dir.path.is_dir():
        raise ConfigError(run_dir.path, "not a directory, expected the hub's run directory")
    run_dir.secure()


def _run(options: argparse.Namespace, run_dir: RunDir) -> Exit:
    # Imported late: a wrong flag is rejected before the time that these take.
    from hub.agent.agent import Agent  # noqa: PLC0415 - see above
    from hub.agent.settings import AgentSettings  # noqa: PLC0415 - see above
    from hub.apiserver.account import Account  # noqa: PLC0415 - see above
    from hub.apiserver.client import ApiClient  # noqa: PLC0415 - see above

    settings = AgentSettings.read(options.config) if options.config else AgentSettings()
    node = os.environ.get(NODE_NAME_VARIABLE) or socket.gethostname()
    client = ApiClient(Account(options.account))

    async def run() -> Exit:
        return await Agent(settings, client, run_dir, node).run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
