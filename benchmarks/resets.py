"""Measure the cost of the processes around a reset."""

import asyncio
import subprocess
import tempfile
import time

import grpc.aio

from benchmarks.rows import START, Row, times
from hub import ResetDevice
from hub.base.interpreter import own_python
from hub.reset.process import clean_environment
from hub.reset.result import Outcome
from hub.reset.runner import ResetRunner

DEVICES = 8
TARGET = "benchmarks.reset_nothing:reset"
DEADLINE = 25.0


async def resets(count: int) -> list[Row]:
    """Reset one device `count` times, and eight in parallel a quarter as often, from a process that serves gRPC.

    Raises:
        AssertionError: a reset did not succeed.
    """
    server = grpc.aio.server()
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        server.add_insecure_port(f"unix:{directory}/socket")
        await server.start()
        resetter = ResetRunner(TARGET, dict)
        await _reset(resetter, 1)
        alone, floor = [], []
        for _ in range(count):
            alone.append(await _reset(resetter, 1))
            floor.append(await _bare_reset())
        together = [await _reset(resetter, DEVICES) for _ in range(max(3, count // 4))]
        await server.stop(None)
    rows = times("a reset that does nothing", alone, {"median": 60, "p99": None}, floor, START)
    rows += times(f"{DEVICES} such resets in parallel", together, {"median": None, "p99": None})
    ratio = rows[-2].value / rows[0].value
    return [*rows, Row(f"{DEVICES} resets in parallel against one", "ratio", ratio, "times", None, len(together))]


async def _bare_reset() -> float:
    """Run two processes that do nothing, started like those of a reset."""
    begin = time.perf_counter()
    command = own_python("benchmarks.bare.reset")
    await asyncio.to_thread(subprocess.run, command, input=b"{}", check=True, env=clean_environment())
    return time.perf_counter() - begin


async def _reset(resetter: ResetRunner, devices: int) -> float:
    begin = time.perf_counter()
    results = await resetter.reset([ResetDevice(f"device-{n}") for n in range(devices)], DEADLINE)
    took = time.perf_counter() - begin
    failed = [result.message for result in results.values() if result.outcome is not Outcome.OK]
    if failed:
        raise AssertionError(failed)
    return took
