"""A process with gRPC that resets one device: `reset_parent MARK ACTION`."""

import asyncio
import sys

import grpc.aio

from hub import ResetDevice
from hub.base.prctl import become_subreaper
from hub.reset.runner import ResetRunner
from tests.integration.reset.reset_support import STUB, VARIABLE


async def main(mark: str, action: str) -> None:
    """Serve, print that, and reset; orphaned processes become children of this one."""
    become_subreaper()
    server = grpc.aio.server()
    await server.start()
    resetter = ResetRunner(STUB, lambda: {"reset": {"*": {"do": action}}}, environment={VARIABLE: mark})
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await resetter.reset([ResetDevice("device")], 60)
    sys.stdout.write("done\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
