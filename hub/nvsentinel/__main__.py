"""`python -m hub.nvsentinel`: pass the health of devices between the hub and NVSentinel."""

import argparse
import asyncio
import sys
from pathlib import Path

from hub.base.component import parser_for, run_component
from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.paths import RunDir


def main() -> int:
    """Read the command line and run."""
    parser = parser_for("hub.nvsentinel", "Pass the health of devices between the hub and NVSentinel.")
    parser.add_argument("--send", type=Path, metavar="SOCKET", help="the socket of NVSentinel's platform connector")
    parser.add_argument("--receive", type=Path, metavar="SOCKET", help="the socket on which to accept its events")
    parser.add_argument("--all-events", action="store_true", help="act on events that are not fatal, too")
    return run_component("nvsentinel", parser, _run)


def _run(options: argparse.Namespace, run_dir: RunDir, node: str) -> Exit:
    if not options.send and not options.receive:
        raise ConfigError("python -m hub.nvsentinel", "nothing to do, expected --send, --receive or both")
    # Imported late, so that a wrong flag is rejected without waiting for gRPC.
    from hub.nvsentinel.bridge import Bridge  # noqa: PLC0415 - see above

    async def run() -> Exit:
        bridge = Bridge(run_dir, node, send=options.send, receive=options.receive, all_events=options.all_events)
        return await bridge.run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
