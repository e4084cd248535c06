"""The process that a reset runs in, and how it exits with the plugin process."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from hub import ResetDevice, Settings
from hub.reset.messages import ResetLimits
from hub.reset.result import Outcome
from hub.testing.waiting import wait_until
from tests.harness.node import random_source
from tests.harness.processes import marked, started
from tests.harness.project import PROJECT
from tests.integration.reset.reset_support import LONG, VARIABLE, ResetRuns

PARENT = Path(__file__).with_name("reset_parent.py")


class OwnSettings(Settings, frozen=True):
    """Settings of a plugin."""

    file: str
    names: tuple[str, ...] = ("a", "b")


@pytest.fixture
async def facts(runs: ResetRuns, tmp_path: Path) -> dict[str, Any]:
    """Return the facts that a reset has recorded about its process."""
    file = tmp_path / "facts"
    limits = ResetLimits(memory=1 << 29, processor=11, files=99)
    resetter = runs.resetter("tests.integration.reset.odd_resets:report_all", OwnSettings(str(file)), limits=limits)
    device = ResetDevice("card0", ("/dev/card0",), "/host")
    # The reset must not inherit this.
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - takes no keyword
    try:
        result = (await resetter.reset([device], LONG))["card0"]
    finally:
        os.close(descriptor)
    assert result.outcome is Outcome.OK, result.message
    facts: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return facts | {"mark": runs.mark, "file": str(file)}


def test_what_it_is_given(facts: dict[str, Any]) -> None:
    """The reset gets the device, and the plugin's settings as JSON represents them."""
    assert facts["device"] == ["card0", ["/dev/card0"], "/host"]
    assert facts["settings"] == {"file": facts["file"], "names": ["a", "b"]}


def test_its_environment(facts: dict[str, Any]) -> None:
    """The process has a clean environment, its own session, its limits, no blocked signals, and no input."""
    environment = facts["environment"]
    assert set(environment) == {"PATH", "LANG", "PYTHONPATH", VARIABLE}
    assert environment[VARIABLE] == facts["mark"]
    pid, session, group = facts["session"]
    assert pid == session == group
    guard, guards_session = facts["guard"]
    assert guard == guards_session != os.getpid()
    assert facts["directory"] == "/"
    assert facts["input"] == ""
    assert facts["limits"] == {"RLIMIT_DATA": 1 << 29, "RLIMIT_CPU": 11, "RLIMIT_NOFILE": 99, "RLIMIT_CORE": 0}
    assert facts["blocked"] == 0


def test_its_descriptors(facts: dict[str, Any]) -> None:
    """The process has no input, one pipe for all output, one for its result, and nothing else."""
    # The descriptor that listed the others has been closed.
    held = {name: target for name, target in facts["descriptors"].items() if target and "/proc/" not in target}
    assert held.pop("0") == os.devnull
    printed = held.pop("1")
    assert printed.startswith("pipe:")
    assert held.pop("2") == printed
    ((_, result),) = held.items()
    assert result.startswith("pipe:")
    assert result != printed


def test_its_modules(facts: dict[str, Any]) -> None:
    """The process has loaded none of the libraries and modules that would make it slow or dangerous."""
    modules = facts["modules"]
    assert not {"grpc", "google", "circus", "zmq", "structlog", "asyncio", "subprocess"}.intersection(modules)
    ours = {name for name in modules if name.startswith("hub.")}
    assert "hub.reset.worker" in ours
    assert not ours & {
        "hub.base.log",
        "hub.plugin.deviceplugin",
        "hub.plugin.process",
        "hub.reset.runner",
        "hub.kubelet",
    }


def _spawn(mark: str, action: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE} | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, PARENT, mark, action], stdout=subprocess.PIPE, text=True, env=environment, cwd=PROJECT
    )


def _end(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    if parent.stdout:
        parent.stdout.close()


async def test_it_ends_with_a_parent_that_is_killed(runs: ResetRuns) -> None:
    """The reset is killed even if it hangs and ignores signals, together with everything that it has started."""
    parent = _spawn(runs.mark, "leave and hang")
    try:
        await wait_until(lambda: len(runs.processes()) == 4, "a reset with two processes left behind")
    finally:
        _end(parent)
    await wait_until(lambda: not runs.processes(), "the end of the reset")


async def test_it_ends_with_a_parent_that_is_killed_at_any_moment(runs: ResetRuns) -> None:
    """The reset exits if the parent is killed before, during or after its start."""
    rng = random_source()
    for _ in range(12):
        parent = _spawn(runs.mark, "hang in C")
        try:
            assert parent.stdout
            assert await asyncio.to_thread(parent.stdout.readline) == "ready\n"
            await asyncio.sleep(rng.uniform(0, 0.15))
        finally:
            _end(parent)
        await wait_until(lambda: not runs.processes(), "the end of the reset")


async def test_it_leaves_nothing_to_the_first_process(runs: ResetRuns) -> None:
    """What a reset leaves behind is killed and reaped here, because a container's first process need not do so.

    The parent is that first process: an orphan would become a child of it, if only as a zombie.
    """
    parent = _spawn(runs.mark, "leave and crash")
    try:
        assert parent.stdout
        lines = [await asyncio.to_thread(parent.stdout.readline) for _ in range(2)]
        assert lines == ["ready\n", "done\n"]
        assert not psutil.Process(parent.pid).children(recursive=True)
    finally:
        _end(parent)


def test_an_unwanted_reset_does_not_begin(tmp_path: Path) -> None:
    """A reset does not begin if the process that requested it is no longer its parent."""
    request = {
        "parent": 1,
        "device": {"id": "a"},
        "settings": {"file": str(tmp_path / "file")},
        "limits": {},
        "term_timeout": 1,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "hub.reset", "tests.integration.reset.odd_resets:take_a_while"],
        check=False,
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT)},
        timeout=LONG,
    )
    assert ran.returncode == 0
    assert ran.stdout == b""
    assert not list(tmp_path.iterdir())


async def test_marks_are_found(runs: ResetRuns) -> None:
    """The processes that the other tests look for can be found."""
    async with started("sleep", "60", env={**os.environ, VARIABLE: runs.mark}) as process:
        await wait_until(lambda: marked(VARIABLE, runs.mark) == [process.pid], "the marked process")
