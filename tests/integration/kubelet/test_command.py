"""`dphub fake-kubelet` is a fake kubelet that a person can control."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin, allocated, device
from hub.testing.waiting import WAIT_SECONDS

COMMAND = [sys.executable, "-m", "hub", "fake-kubelet"]


class Session:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory

    async def ask(self, line: str, answers: int = 1) -> list[str]:
        """Type a line, and return this many lines of the response."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(WAIT_SECONDS):
            return [(await self.process.stdout.readline()).decode().rstrip() for _ in range(answers)]

    async def logged(self, **expected: object) -> None:
        """Read the log up to a line with these fields."""
        assert self.process.stderr
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self.process.stderr:
                if expected.items() <= json.loads(line).items():
                    return
        raise AssertionError(f"the log ended without {expected}")

    async def end(self, number: signal.Signals) -> int:
        """Send the signal, and return the exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def session() -> AsyncIterator[Session]:
    """Start the command, and wait until it is ready to answer."""
    with tempfile.TemporaryDirectory(prefix="fk", dir="/tmp") as root:  # short, as socket paths must be
        pipe = asyncio.subprocess.PIPE
        directory = Path(root) / "dp"
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--plugin-dir", directory, stdin=pipe, stdout=pipe, stderr=pipe
        )
        running = Session(process, directory)
        try:
            await running.logged(event="kubelet started", start=1)
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_a_person_can_follow_and_direct_it() -> None:
    """Registrations and changes are logged, and every verb has a readable response."""
    async with session() as it:
        assert await it.ask("capacity") == ["no resources"]
        plugin = await ScriptedPlugin(it.directory, listed=[device("a", numa=[0]), device("b", healthy=False)]).serve()

        async def say(*_: object) -> wire.AllocateResponse:
            node = wire.DeviceSpec(container_path="/dev/a", host_path="/dev/null", permissions="rw")
            return allocated(envs={"KEY": "value"}, devices=[node])

        plugin.on_allocate = say
        await plugin.register()
        await it.logged(event="registered", resource=STUB, socket="stub.sock")
        await it.logged(event="devices updated", resource=STUB, capacity=2, allocatable=1)
        assert await it.ask("capacity") == [f"{STUB}: 1 of 2 allocatable"]
        assert await it.ask(f"devices {STUB}", 2) == ["a: healthy, NUMA 0", "b: unhealthy"]
        assert await it.ask(f"admit pod {STUB}=1", 4) == [
            f"{STUB}: a",
            "environment: KEY=value",
            "device node: /dev/null as /dev/a (rw)",
            "default/pod: running",
        ]
        (refusal,) = await it.ask(f"admit other {STUB}=1")
        assert refusal.startswith(
            "pod default/other: UnexpectedAdmissionError: Allocate failed due to requested number"
        )
        assert await it.ask("remove pod") == ["remove: done"]
        assert await it.ask("crash") == ["crash: done"]
        await it.logged(event="resource removed", resource=STUB)
        assert await it.ask("start") == ["start: done"]
        await it.logged(event="kubelet started", start=2)
        assert await it.ask("stop") == ["stop: done"]
        assert not (it.directory / "kubelet.sock").exists()
        assert await it.ask("restart") == ["restart: done"]
        await plugin.close()
        assert await it.end(signal.SIGTERM) == 0


async def test_a_refused_registration_is_logged_with_the_kubelets_words() -> None:
    """The log shows a plugin's author what is wrong."""
    async with session() as it:
        plugin = await ScriptedPlugin(it.directory, "stub").serve()
        with pytest.raises(Exception, match="is invalid"):
            await plugin.register()
        await it.logged(event="registration rejected", resource="stub", error='the ResourceName "stub" is invalid')
        await plugin.close()


async def test_help_names_every_verb() -> None:
    """The help also says which arguments each verb takes."""
    async with session() as it:
        lines = await it.ask("help", 9)
        verbs = ["capacity", "devices", "admit", "remove", "restart", "stop", "start", "crash", "help"]
        assert [line.split()[0] for line in lines] == verbs
        assert lines[2].startswith("admit POD RESOURCE=N ... ")


async def test_a_mistake_is_answered_and_ends_nothing() -> None:
    """Every invalid line gets a response that says what is wrong."""
    async with session() as it:
        assert await it.ask("frobnicate") == ["unknown command frobnicate, try help"]
        assert await it.ask("restrat") == ["unknown command restrat, try help; did you mean restart?"]
        assert await it.ask("devices") == ["usage: devices RESOURCE"]
        assert await it.ask("capacity x") == ["usage: capacity"]
        assert await it.ask("admit pod example.com/stub") == [
            "example.com/stub: expected RESOURCE=N, such as example.com/stub=2"
        ]
        assert await it.ask("remove absent") == ["there is no pod default/absent"]
        assert await it.ask('admit "pod') == ["No closing quotation"]
        assert await it.ask("\n\ndevices example.com/stub") == ["example.com/stub has no devices"]
        assert await it.end(signal.SIGINT) == 0


async def test_the_end_of_standard_input_ends_nothing() -> None:
    """The command keeps running as a background job of a script."""
    async with session() as it:
        assert it.process.stdin
        it.process.stdin.close()
        plugin = await ScriptedPlugin(it.directory, listed=[device("a")]).serve()
        await plugin.register()
        await it.logged(event="devices updated", allocatable=1)
        await plugin.close()
        assert await it.end(signal.SIGTERM) == 0


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """The command prints one error, and exits with the code for wrong flags."""
    path = tmp_path / "file"
    path.touch()
    command = [*COMMAND, "--plugin-dir", path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
    assert ended.returncode == 2
    assert "--plugin-dir" in ended.stderr
    assert os.fspath(path) in ended.stderr


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The error names the directory, the reason, and the flag for another one."""
    path = tmp_path / "file"
    path.touch()
    arguments = [*COMMAND, "--plugin-dir", os.fspath(path / "dp")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
    assert ended.returncode == 2
    why = "cannot be created: Not a directory; choose another with --plugin-dir"
    assert ended.stderr == f"dphub: {path / 'dp'}: {why}\n"


async def test_the_plugin_directory_of_a_running_kubelet_is_left_alone() -> None:
    """A kubelet deletes all sockets there when it starts, which would disconnect the plugins of the running one."""
    async with session() as it:
        plugin = await ScriptedPlugin(it.directory, listed=[device("a")]).serve()
        arguments = [*COMMAND, "--plugin-dir", os.fspath(it.directory)]
        ended = await asyncio.to_thread(
            subprocess.run,
            arguments,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=WAIT_SECONDS,
        )
        assert (ended.returncode, "a kubelet is running there" in ended.stderr) == (2, True), ended
        assert (it.directory / "kubelet.sock").is_socket()
        await plugin.register()
        await it.logged(event="registered", resource=STUB)
        await plugin.close()
