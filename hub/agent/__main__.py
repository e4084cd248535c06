"""`python -m hub.agent`: run the agent."""

import argparse
import asyncio
import sys
from pathlib import Path

from hub.apiserver.account import add_account_option
from hub.base.component import parser_for, run_component
from hub.base.exits import Exit
from hub.base.paths import RunDir

ACCOUNT_DIR = Path("/run/dphub-agent")


def main() -> int:
    """Read the command line and run."""
    parser = parser_for("hub.agent", "Run the agent of a node.")
    add_account_option(parser, ACCOUNT_DIR)
    parser.add_argument("--config", type=Path, help="its configuration file (YAML or JSON)")
    return run_component("agent", parser, _run)


def _run(options: argparse.Namespace, run_dir: RunDir, node: str) -> Exit:
    # Imported late, so that a wrong flag is rejected without waiting for these imports.
    from hub.agent.agent import Agent  # noqa: PLC0415 - see above
    from hub.agent.settings import AgentSettings  # noqa: PLC0415 - see above
    from hub.apiserver.account import Account  # noqa: PLC0415 - see above
    from hub.apiserver.client import ApiClient  # noqa: PLC0415 - see above

    settings = AgentSettings.read(options.config) if options.config else AgentSettings()
    client = ApiClient(Account(options.account))

    async def run() -> Exit:
        return await Agent(settings, client, run_dir, node).run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
