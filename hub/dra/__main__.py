"""`python -m hub.dra`: run the DRA process."""

import argparse
import asyncio
import sys
from pathlib import Path

from hub.apiserver.account import add_account_option
from hub.base.component import parser_for, run_component
from hub.base.exits import Exit
from hub.base.paths import RunDir

ACCOUNT_DIR = Path("/run/dphub-dra")


def main() -> int:
    """Read the command line and run."""
    parser = parser_for("hub.dra", "Run the DRA process of a node.")
    add_account_option(parser, ACCOUNT_DIR)
    return run_component("dra", parser, _run)


def _run(options: argparse.Namespace, run_dir: RunDir, node: str) -> Exit:
    # Imported late, so that a wrong flag is rejected without waiting for these imports.
    from hub.apiserver.account import Account  # noqa: PLC0415 - see above
    from hub.dra.component import DraComponent  # noqa: PLC0415 - see above

    async def run() -> Exit:
        return await DraComponent(Account(options.account), run_dir, node).run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
