"""A node in a temporary directory, real plugin processes on it, and what a test asks of them."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc.aio

from hub.base.paths import INSTANCE, RunDir
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import (
    DevicePluginStub,
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus
from hub.status.reader import read_report
from hub.testing.kubelet import FakeKubelet

if TYPE_CHECKING:
    from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginAsyncStub

PROJECT = Path(__file__).parents[2]

STUB = "example.com/stub"
"""The resource that the stub serves when it is told nothing else."""

PATIENCE = 60.0
"""Seconds until a test gives up on a condition; far more than any takes, also on a busy machine."""

T = TypeVar("T")
Line = dict[str, Any]


async def until(condition: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first true value of the condition."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition():
            return value
        await asyncio.sleep(0.005)
    raise AssertionError(f"not seen in {patience:g} s: {what}")


def replace(path: Path, text: str) -> None:
    """Write a file at once: who reads it meanwhile finds the old text or the new one."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    scratch.replace(path)


def chance() -> random.Random:
    """Random numbers; the seed is printed, to repeat a failure."""
    # pytest-randomly seeds `random` before each test, so that --randomly-seed repeats this too.
    seed = random.randrange(2**32)  # noqa: S311 - no secret
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)  # noqa: S311 - no secret


@asynccontextmanager
async def started(*command: str | Path, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:  # noqa: ANN401 - what asyncio takes
    """A process that ends with the block: by itself before that, or killed."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    """The exit code of a process that was asked to end."""
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


class PluginUnderTest:
    """A plugin process: its log, its state, its signals.

    Args:
        node: Where it runs.
        target: What it serves, as on the command line.
        name: What it is called; also distinguishes its log.
        config: The text of its configuration file, or the file itself.
        instance: Which hub it belongs to.
        env: More variables of its environment.
        hup_blocked: Whether the parent blocks SIGHUP for it, as the hub does.
    """

    def __init__(
        self,
        node: "Node",
        target: str = "plugins.stub:Stub",
        *,
        name: str = "stub",
        config: str | Path | None = None,
        instance: str = INSTANCE,
        env: dict[str, str] | None = None,
        hup_blocked: bool = False,
    ) -> None:
        self.node = node
        self.name = name
        self.run_dir = RunDir(node.run_dir, instance)
        self.log_file = node.directory / f"{instance}.{name}.log"
        self._state: tuple[int, PluginReport | None] = (0, None)
        flags = {"--name": name, "--plugin-dir": node.plugin_dir, "--run-dir": node.run_dir}
        if isinstance(config, str):
            flags["--config"] = node.directory / f"{name}.yaml"
            (node.directory / f"{name}.yaml").write_text(config)
        elif config:
            flags["--config"] = config
        words = [str(word) for flag in flags.items() for word in flag]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DPHUB_")}
        paths = [str(PROJECT), *filter(None, [(env or {}).get("PYTHONPATH")])]
        with self.log_file.open("ab") as log, _hup_blocked() if hup_blocked else nullcontext():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.plugin", target, *words],
                stdout=log,
                stderr=log,
                cwd=node.directory,
                env={
                    **environment,
                    "DPHUB_RUN_DIR": str(node.run_dir),
                    "DPHUB_INSTANCE": instance,
                    **(env or {}),
                    "PYTHONPATH": os.pathsep.join(paths),
                },
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def signal(self, *numbers: signal.Signals) -> None:
        """Send it signals."""
        for number in numbers:
            self.process.send_signal(number)

    def hup(self) -> None:
        """Ask it to scan and to make sure of its registrations."""
        self.signal(signal.SIGHUP)

    async def exited(self) -> int:
        """Its exit status, once it has ended."""
        await until(lambda: self.process.poll() is not None, f"the end of {self.name}")
        return self.process.returncode

    async def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.signal(signal.SIGTERM)
        return await self.exited()

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """All that it has written."""
        return self.log_file.read_text()

    def lines(self, event: str | None = None) -> list[Line]:
        """Its log lines, of one event or all; a line that is no JSON fails the test."""
        found: list[Line] = [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in found if event in (None, line["event"])]

    def state(self) -> PluginReport | None:
        """What it tells about itself, if anything yet."""
        path = self.run_dir.report(self.name)
        modified = path.stat().st_mtime_ns if path.exists() else 0
        if modified != self._state[0]:
            self._state = modified, read_report(path)
        state = self._state[1]
        return state if state and state.pid == self.pid else None

    def resource(self, name: str = STUB) -> ResourceStatus | None:
        """The state of one of its resources, if it has it yet."""
        state = self.state()
        return next((each for each in state.resources if each.name == name), None) if state else None

    async def resource_until(self, holds: Callable[[ResourceStatus], bool], name: str = STUB) -> ResourceStatus:
        """The first state of a resource for which something holds."""

        def found() -> ResourceStatus | None:
            self._check_alive()
            state = self.resource(name)
            return state if state and holds(state) else None

        try:
            return await until(found, f"{name} as wanted")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.resource(name)}; log:\n{self.log}") from None

    async def registered(self, name: str = STUB) -> ResourceStatus:
        """The state of a resource once it is registered."""
        return await self.resource_until(lambda state: state.registration is RegistrationStatus.REGISTERED, name)

    async def logged(self, event: str) -> Line:
        """The first line of an event, once there is one."""
        return (await until(lambda: self.lines(event), f"a line {event!r} in the log"))[0]

    def _check_alive(self) -> None:
        assert self.process.poll() is None, f"{self.name} has ended ({self.process.returncode}):\n{self.log}"


class Node:
    """A directory of a kubelet and a directory of a hub, and whoever runs there.

    Args:
        directory: Holds everything; its path is short enough for sockets.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plugin_dir = directory / "p"
        self.run_dir = directory / "run"
        self.faults_file = self.run_dir / "stub-faults.yaml"
        self.plugin_dir.mkdir()
        self.run_dir.mkdir()
        self.plugins: list[PluginUnderTest] = []

    def spawn(self, *args: Any, **kwargs: Any) -> PluginUnderTest:  # noqa: ANN401 - what PluginUnderTest takes
        """Start a plugin process."""
        self.plugins.append(PluginUnderTest(self, *args, **kwargs))
        return self.plugins[-1]

    def write_plugin(self, code: str) -> str:
        """A file with a class P(Plugin), made of this body; what to call it on the command line."""
        path = self.directory / "thirdparty.py"
        head = "import os, threading, time\nfrom pathlib import Path\nfrom hub import *\n\n"
        path.write_text(f"{head}{code}")
        return f"{path}:P"

    def kubelet(self, **settings: Any) -> FakeKubelet:  # noqa: ANN401 - what FakeKubelet takes
        """A kubelet for the node, not yet started."""
        return FakeKubelet(self.plugin_dir, **settings)

    def faults(self, text: str) -> None:
        """Tell the stub what to do wrong; nothing, and it does everything right."""
        replace(self.faults_file, text)

    def sockets(self) -> list[Path]:
        """The plugins' sockets."""
        found = self.plugin_dir.iterdir() if self.plugin_dir.exists() else ()
        return sorted(path for path in found if path.is_socket() and path.name != "kubelet.sock")

    def end(self) -> None:
        """Leave no process behind, and show what they had to say if the test fails."""
        for plugin in self.plugins:
            code = plugin.process.poll()
            plugin.kill()
            sys.stdout.write(plugin.log)
            if code:
                stack = plugin.run_dir.stack(plugin.name)
                sys.stdout.write(f"the plugin had exited with {code}\n{stack.read_text() if stack.exists() else ''}")


@asynccontextmanager
async def dialled(socket: Path, **options: int) -> AsyncIterator["DevicePluginAsyncStub"]:
    """A client of a plugin's socket with a connection of its own."""
    settings = [("grpc.use_local_subchannel_pool", 1), *(("grpc." + key, value) for key, value in options.items())]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=settings) as channel:
        yield DevicePluginStub(channel)


def asking_for(*ids: str) -> wire.AllocateRequest:
    """A kubelet's request for one container."""
    return wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest(devices_ids=ids)])


class OddKubelet(RegistrationServicer):
    """Listens where a kubelet does and says no, or accepts and does nothing more.

    Args:
        node: Where.
        refusal: What it says; empty to accept.
    """

    def __init__(self, node: Node, refusal: str) -> None:
        self._path = node.plugin_dir / "kubelet.sock"
        self.refusal = refusal
        self.requests: list[wire.RegisterRequest] = []

    async def Register(self, request: wire.RegisterRequest, context: Any) -> wire.Empty:  # noqa: ANN401 - gRPC's
        """Note the request and answer."""
        self.requests.append(request)
        if self.refusal:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
        return wire.Empty()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["OddKubelet"]:
        """Listen for as long as the block lasts."""
        server = grpc.aio.server()
        add_RegistrationServicer_to_server(self, server)
        server.add_insecure_port(f"unix:{self._path}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(grace=None)


@contextmanager
def _hup_blocked() -> Iterator[None]:
    """Processes that are started meanwhile have SIGHUP blocked, as the hub's have.

    Not by a function that runs in the child: where there is one, Python forks, and gRPC, which this process uses too,
    does not always survive that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
