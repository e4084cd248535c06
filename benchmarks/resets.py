"""Measure the cost of the processes around a reset."""

import tempfile
import time

import grpc.aio

from benchmarks.rows import Row, times
from hub import ResetDevice
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
        alone = [await _reset(resetter, 1) for _ in range(count)]
        together = [await _reset(resetter, DEVICES) for _ in range(max(3, count // 4))]
        await server.stop(None)
    rows = times("a reset that does nothing", alone, {"median": 60, "p99": None})
    rows += times(f"{DEVICES} such resets in parallel", together, {"median": None, "p99": None})
    ratio = rows[-2].value / rows[0].value
    return [*rows, Row(f"{DEVICES} resets in parallel against one", "ratio", ratio, "times", None, len(together))]


async def _reset(resetter: ResetRunner, devices: int) -> float:
    begin = time.perf_counter()
    results = await resetter.reset([ResetDevice(f"device-{n}") for n in range(devices)], DEADLINE)
    took = time.perf_counter() - begin
    failed = [result.message for result in results.values() if result.outcome is not Outcome.OK]
    if failed:
        raise AssertionError(failed)
    return took
