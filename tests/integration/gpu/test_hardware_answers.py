"""The simulated driver is called like a real one, and answers like it; skipped where no NVIDIA driver is loaded."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.simulators.nvml import SimulatedNode

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.skipif(not Path("/proc/driver/nvidia/version").exists(), reason="no NVIDIA driver is loaded"),
]

POLL = """
import json
import os
import sys
from pathlib import Path

import pynvml

from hub import Host
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.driver import Driver

calls, find = [], pynvml._nvmlGetFunctionPointer


def recorded(name):
    function = find(name)

    def call(*args):
        code = function(*args)
        calls.append((name, code))
        return code

    return call


pynvml._nvmlGetFunctionPointer = recorded
Driver(DriverPaths(Host(Path(sys.argv[1]))), lambda _: None, lambda: None).poll(30)
polled = [call for call in calls if call[0] != "nvmlEventSetWait_v2"]
sys.stdout.write(json.dumps(polled))
sys.stdout.flush()
# Without the end of the session, which is not a part of the poll.
os._exit(0)
"""
"""A program that polls the driver of a file system once, and prints the calls to NVML and what each returned."""


def _calls(root: Path, environment: Mapping[str, str]) -> list[tuple[str, int]]:
    command = [sys.executable, "-c", POLL, str(root)]
    polled = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [(name, code) for name, code in json.loads(polled)]


def test_a_poll_of_one_gpu(tmp_path: Path) -> None:
    """For a data center GPU without NVLink, the calls are the same, in the same order, with the same return codes."""
    real = _calls(Path("/"), {})
    node = SimulatedNode(tmp_path, "single")
    # A real GPU has these values; without a threshold, its temperature is not read.
    node.set(0, slowdown=89, temperature=36)
    assert _calls(tmp_path, node.environment) == real
