"""`dphub demo`: its output for people and for programs."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.processes import started

DPHUB = Path(sys.executable).with_name("dphub")
STEPS = [
    "The hub starts",
    "What the kubelet sees",
    "A pod is admitted",
    "A device fails",
    "The device recovers",
    "The kubelet restarts",
    "A plugin is killed",
    "The hub stops",
]


def _demo(*flags: str) -> str:
    return subprocess.run(
        [DPHUB, "demo", *flags], check=True, capture_output=True, text=True, timeout=4 * WAIT_SECONDS
    ).stdout


def test_the_steps_are_explained() -> None:
    """Every step has its title, and a resource without a device says why."""
    output = " ".join(_demo().split())
    for title in STEPS:
        assert title in output
    assert "no NVIDIA driver" in output or "NVIDIA driver is loaded" in output


def test_a_machine_gets_one_document() -> None:
    """With --json, every step is there with its rows and times, and nothing else is printed."""
    document = json.loads(_demo("--json"))
    assert document["ok"] is True
    assert [step["title"] for step in document["steps"]] == STEPS
    by_title = {step["title"]: step for step in document["steps"]}
    assert {row["plugin"] for row in by_title["The hub starts"]["rows"]} == {"gpu", "ib", "stub"}
    assert {"what": "variable", "value": "STUB_DEVICES=stub-0,stub-1"} in by_title["A pod is admitted"]["rows"]
    assert by_title["A device fails"]["rows"] == [{"device": "stub-3", "unhealthy because": "unplugged by the demo"}]
    assert by_title["The kubelet restarts"]["seconds"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals) -> None:
    """Ctrl-C in the middle, a stop signal or a closed terminal stops the demo, the hub and every plugin."""
    pipe = asyncio.subprocess.PIPE
    async with started(DPHUB, "demo", stdout=pipe, stderr=pipe, start_new_session=True) as demo:
        assert demo.stdout
        async for line in demo.stdout:
            if b"A pod is admitted" in line:
                break
        family = psutil.Process(demo.pid).children(recursive=True)
        assert family
        demo.send_signal(number)
        async with asyncio.timeout(WAIT_SECONDS):
            _, said = await demo.communicate()
        assert (demo.returncode, said.strip()) == (1, b"Aborted!")
        gone, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
        assert not alive, gone


async def test_a_second_interrupt_leaves_nothing_behind() -> None:
    """A second Ctrl-C changes nothing: the demo stops gracefully, and removes its directory."""
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as directory:
        environment = {**os.environ, "TMPDIR": directory}
        async with started(DPHUB, "demo", stdout=pipe, stderr=pipe, start_new_session=True, env=environment) as demo:
            assert demo.stdout
            # This is the first step: the hub has started, and will be the last process to exit.
            async for line in demo.stdout:
                if b"The hub starts" in line:
                    break
            (hub,) = psutil.Process(demo.pid).children()
            hub.suspend()
            # Until the suspension has taken effect, the hub would still handle a signal.
            await wait_until(lambda: hub.status() == psutil.STATUS_STOPPED, "the hub to be suspended")
            demo.send_signal(signal.SIGINT)
            await wait_until(lambda: _has_pending(hub.pid, signal.SIGTERM), "the demo to stop the hub")
            demo.send_signal(signal.SIGINT)
            hub.resume()
            async with asyncio.timeout(WAIT_SECONDS):
                _, said = await demo.communicate()
        assert (demo.returncode, said.strip()) == (1, b"Aborted!")
        assert os.listdir(directory) == []  # noqa: PTH208 - nothing in the event loop waits for it


def _has_pending(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal is pending for a process, as it is while the process is suspended."""
    (mask,) = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_an_unknown_command_is_one_clear_error() -> None:
    """The error names the mistyped word, and the command exits with 2 and starts nothing."""
    failed = subprocess.run([DPHUB, "dmeo"], check=False, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert failed.returncode == 2
    assert "dmeo" in failed.stderr


@pytest.mark.parametrize(
    "flags", [["--help"], ["--version"], ["run", "--help"], ["demo", "--help"], ["fake-kubelet", "-h"]]
)
def test_every_command_explains_itself(flags: list[str]) -> None:
    """Help and version work without a node, a kubelet or a run directory."""
    shown = subprocess.run([DPHUB, *flags], check=True, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert "dphub" in shown.stdout
