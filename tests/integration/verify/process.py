"""Run the model or a broken plugin as a process: `python -m tests.integration.verify.process DIRECTORY [RULE]`."""

import asyncio
import signal
import sys
from pathlib import Path

from tests.integration.verify import broken_answers, broken_life  # noqa: F401 - each adds plugins to BROKEN
from tests.integration.verify.model import BROKEN, ModelPlugin

__all__ = ["BROKEN"]


async def main(directory: str, *rules: str) -> None:
    """Run the plugin until SIGTERM."""
    plugin = (BROKEN[rules[0]] if rules else ModelPlugin)(Path(directory))
    running = asyncio.create_task(plugin.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait([running])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
