"""`dphub fake-kubelet`: a fake kubelet in the foreground, for testing plugins without a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.base import log
from hub.base.errors import ConfigError, HubError
from hub.base.exits import Exit
from hub.base.paths import KUBELET_SOCKET, user_name
from hub.base.stopsignals import stop_event
from hub.base.wording import did_you_mean
from hub.cli.plugindir import ANOTHER, check_not_kubelet_dir, check_own_directory, make_own_directory
from hub.cli.render.text import echo, examples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from hub.testing.kubelet import FakeKubelet

_STDIN = 0
_ANOTHER_SOCKET = "choose another with --pod-resources-socket"


@click.command("fake-kubelet", epilog=examples("dphub fake-kubelet --plugin-dir node/device-plugins"))
@click.option(
    "--plugin-dir",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    # No default and no variable: no user should get the directory of the node's own kubelet by accident.
    required=True,
    help="Where to listen, and where plugins have their sockets; created if missing. Like a real kubelet, the fake one "
    "deletes these sockets when it starts.",
)
@click.option(
    "--pod-resources-socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to serve the pod resources API.  [default: pod-resources/kubelet.sock next to the device plugin "
    "directory]",
)
def fake_kubelet(plugin_dir: Path, pod_resources_socket: Path | None) -> None:
    """Run a fake kubelet until SIGINT or SIGTERM.

    It logs registrations and device changes as they happen, and reads commands from standard input, one per line;
    "help" lists them.
    """
    from hub.testing.kubelet import FakeKubelet  # noqa: PLC0415 - 0.2 s; completion does not need gRPC

    plugin_dir = plugin_dir.absolute()
    pod_resources = (pod_resources_socket or plugin_dir.parent / "pod-resources" / KUBELET_SOCKET).absolute()
    own = (plugin_dir, ANOTHER), (pod_resources.parent, _ANOTHER_SOCKET)
    for directory, todo in own:
        check_own_directory(directory, todo, may_be_missing=True)
    _check_unused(plugin_dir, pod_resources)
    for directory, todo in own:
        _make_directory(directory, todo)
    log.configure()
    try:
        asyncio.run(_run(FakeKubelet(plugin_dir, pod_resources_socket=pod_resources)))
    except (OSError, RuntimeError) as error:
        echo(f"dphub fake-kubelet: cannot use {plugin_dir}: {error}", error=True)
        sys.exit(Exit.FAILED)


def _check_unused(plugin_dir: Path, pod_resources: Path) -> None:
    """Reject locations of a real kubelet, and files in place of the two sockets.

    Other plugins that listen in the directory do not matter: they wait for the next start of the fake kubelet.
    """
    for path, todo in ((plugin_dir / KUBELET_SOCKET, ANOTHER), (pod_resources, _ANOTHER_SOCKET)):
        check_not_kubelet_dir(path, todo)
        if path.exists() and not path.is_socket():
            raise ConfigError(path, f"not a socket, and would be deleted; {todo}")


def _make_directory(directory: Path, todo: str) -> None:
    """Check and create a directory before anything else is done."""
    make_own_directory(directory, todo)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(directory, f"not writable by {user_name(os.geteuid())}; {todo}")


async def _run(fake: FakeKubelet) -> None:
    """Run until a signal arrives or a task fails."""
    stop = stop_event()
    async with fake:
        tasks = [asyncio.create_task(work) for work in (stop.wait(), _report(fake), Console(fake).run())]
        ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in ended:
            task.result()


async def _report(fake: FakeKubelet) -> None:
    """Log every start, every registration, and every change to the node's devices."""
    logger = log.get_logger()
    start, last, capacity = 0, None, fake.capacity()
    async for _ in fake.changes():
        if fake.running and fake.starts != start:
            start = fake.starts
            logger.info("kubelet started", start=start)
        calls = fake.registrations
        for call in calls[calls.index(last) + 1 if last in calls else 0 :]:
            if call.error:
                logger.warning("registration rejected", resource=call.resource, error=call.error)
            else:
                logger.info("registered", resource=call.resource, socket=call.endpoint)
        last = calls[-1] if calls else None
        before, capacity = capacity, fake.capacity()
        for resource, now in capacity.items():
            if now != before.get(resource):
                logger.info("devices updated", resource=resource, capacity=now.capacity, allocatable=now.allocatable)
        for resource in before.keys() - capacity.keys():
            logger.info("resource removed", resource=resource)


@dataclass(frozen=True)
class _Verb:
    arguments: str
    """The arguments as the help shows them; "..." at the end stands for any number of them."""
    summary: str
    action: Callable[..., Awaitable[Iterable[str] | None]]
    """The function that runs the command and returns the lines of its output, if there are any."""

    def accepts(self, count: int) -> bool:
        wanted = len(self.arguments.removesuffix(" ...").split())
        return count >= wanted if self.arguments.endswith("...") else count == wanted


class Console:
    """Runs commands from standard input, one after another."""

    def __init__(self, fake: FakeKubelet) -> None:
        self._fake = fake
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._verbs = {
            "capacity": _Verb("", "show how many devices each resource has", self._capacity),
            "devices": _Verb("RESOURCE", "show each device of a resource", self._devices),
            "admit": _Verb("POD RESOURCE=N ...", "admit a pod with one container and start it", self._admit),
            "remove": _Verb("POD", "remove a pod and free its devices", fake.remove),
            "restart": _Verb("", "restart the kubelet", fake.restart),
            "stop": _Verb("", "stop the kubelet as with SIGTERM", fake.stop),
            "start": _Verb("", "start the kubelet", fake.start),
            "crash": _Verb("", "stop the kubelet as with SIGKILL", fake.crash),
            "help": _Verb("", "show this list", self._help),
        }

    async def run(self) -> None:
        """Run commands until cancelled; the end of standard input does not stop anything."""
        threading.Thread(target=self._read, args=[asyncio.get_running_loop()], daemon=True).start()
        while True:
            await self._answer(await self._lines.get())

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        # A thread, since an event loop cannot wait for standard input if it is a file. Unbuffered, since a lock that
        # this thread holds on a buffer would abort the interpreter at exit. A closed event loop accepts no more lines.
        with open(_STDIN, "rb", buffering=0, closefd=False) as lines, contextlib.suppress(RuntimeError):
            for line in lines:
                loop.call_soon_threadsafe(self._lines.put_nowait, line.decode(errors="replace"))

    async def _answer(self, line: str) -> None:
        try:
            words = shlex.split(line)
            lines = await self._do(*words) if words else ()
        except (ValueError, LookupError, RuntimeError, HubError) as error:
            lines = [str(error)]
        for text in lines:
            echo(text)

    async def _do(self, name: str, *arguments: str) -> Iterable[str]:
        verb = self._verbs.get(name)
        if verb is None:
            raise ValueError(f"unknown command {name}, try help{did_you_mean(name, self._verbs)}")
        if not verb.accepts(len(arguments)):
            raise ValueError(f"usage: {name} {verb.arguments}")
        lines = await verb.action(*arguments)
        return [f"{name}: done"] if lines is None else lines

    async def _capacity(self) -> list[str]:
        known = sorted(self._fake.capacity().items())
        lines = [f"{resource}: {found.allocatable} of {found.capacity} allocatable" for resource, found in known]
        return lines or ["no resources"]

    async def _devices(self, resource: str) -> list[str]:
        devices = self._fake.devices(resource)
        lines = [
            f"{device.id}: {'healthy' if device.healthy else 'unhealthy'}"
            + (f", NUMA {', '.join(map(str, device.numa))}" if device.numa else "")
            for device in devices
        ]
        return lines or [f"{resource} has no devices"]

    async def _admit(self, name: str, *requests: str) -> list[str]:
        pod = await self._fake.admit(name, dict(_request(request) for request in requests))
        (container,) = pod.containers.values()
        response = container.response
        return [
            *(f"{resource}: {', '.join(ids)}" for resource, ids in container.devices.items()),
            *(f"environment: {name}={value}" for name, value in response.envs.items()),
            *(
                f"device node: {node.host_path} as {node.container_path} ({node.permissions})"
                for node in response.devices
            ),
            *(f"mount: {mount.host_path} at {mount.container_path}" for mount in response.mounts),
            *(f"annotation: {name}={value}" for name, value in response.annotations.items()),
            *(f"CDI device: {name}" for name in response.cdi_devices),
            f"{pod.key}: running",
        ]

    async def _help(self) -> list[str]:
        return [f"{f'{name} {verb.arguments}':28}{verb.summary}" for name, verb in self._verbs.items()]


def _request(text: str) -> tuple[str, int]:
    resource, _, count = text.rpartition("=")
    if not resource or not count.isdecimal():
        raise ValueError(f"{text}: expected RESOURCE=N, such as example.com/stub=2")
    return resource, int(count)
