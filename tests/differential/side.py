"""One kubelet with its plugins, which follow a script, and their observable state."""

import asyncio
import re
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.scripted import ScriptedPlugin, device, devices, refuse
from tests.differential.answers import ODD, first
from tests.differential.script import PLUGINS, Device, Step

SENTINEL = "example.com/sentinel"
_WORDS = (
    # Go prints the fields of the endpoint, which include memory addresses.
    (r"endpoint .* has been stopped", "endpoint has been stopped"),
    (r"allocation response.*", "allocation response"),
    (r"/\S*/device-plugins/", ""),
    # The messages about lost connections come from the gRPC library.
    (r"code = (Unavailable|Canceled) desc = .*?(, which is unexpected)?$", r"connection lost"),
    # Which of these two errors a kubelet reports for a plugin that dies while answering depends on what it sees first.
    (r"due to (rpc error: connection lost|endpoint has been stopped(, which is unexpected)?)", "since it is gone"),
)


class Side:
    """A kubelet, its plugins, and the outcomes of the script's steps."""

    def __init__(self, kubelet: FakeKubelet, directory: Path) -> None:
        self.kubelet = kubelet
        self._directory = directory
        self._plugins: dict[str, ScriptedPlugin] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._work: dict[str, asyncio.Future[str]] = {}
        self._sentinel: ScriptedPlugin | None = None
        self._beats = 0

    async def begin(self) -> None:
        """Start the kubelet."""
        await self.start()

    async def end(self) -> None:
        """Stop everything."""
        await self.kubelet.__aexit__(None, None, None)
        for gate in self._gates.values():
            gate.set()
        await asyncio.gather(*self._work.values())
        for plugin in [*self._plugins.values(), *([self._sentinel] if self._sentinel else [])]:
            await plugin.close()

    async def perform(self, step: Step) -> None:
        """Perform a step; what may take a long time continues in the background."""
        await getattr(self, step.do)(**step.arguments)

    # Steps of plugins.

    async def serve(self, plugin: str, listed: list[Device], *, pre_start: bool, prefers: bool) -> None:
        """Start a new process of the plugin, and register it; the process before it exits."""
        await self.die(plugin)
        options: dict[str, Any] = {"pre_start": pre_start, "prefers": prefers}
        made = ScriptedPlugin(self._directory, PLUGINS[plugin], f"{plugin}.sock", _wire(listed), **options)
        made.on_prefer = first
        self._plugins[plugin] = await made.serve()
        await self.register(plugin, "again")

    async def register(self, plugin: str, how: str) -> None:
        """Register a plugin, again if it is already registered."""
        found = self._plugins[plugin]
        if how == "again":
            await self._later("register", _error(found.register()))
            return
        gate, usual = asyncio.Event(), found.on_options

        async def late(request: object, context: object) -> object:
            await gate.wait()
            return await usual(request, context)

        found.on_options = late
        found.called.clear()
        registering = asyncio.create_task(_error(found.register()))
        await found.called.wait()
        if how == "given up":
            registering.cancel()
            await asyncio.wait([registering])
            await asyncio.sleep(0.05)
        gate.set()
        found.on_options = usual
        if how == "late":
            await self._later("register", registering)

    async def refused(self, resource: str, way: str) -> None:
        """Register in a way that a kubelet refuses."""
        plugin = ScriptedPlugin(self._directory, "no-domain" if way == "name" else resource, "refused.sock")
        plugin.on_options = refuse(grpc.StatusCode.INTERNAL, "no options")
        await plugin.serve()
        await self._later("refused", _error(plugin.register("v1alpha" if way == "version" else "v1beta1")))
        await plugin.close()

    async def register_absent(self, resource: str) -> None:
        """Register a plugin that does not listen; a kubelet tries for ten seconds."""
        await self._later("absent", _error(ScriptedPlugin(self._directory, resource, "absent.sock").register()))

    async def send(self, plugin: str, listed: list[Device]) -> None:
        """Send a list."""
        self._plugins[plugin].send(_wire(listed))

    async def end_streams(self, plugin: str) -> None:
        """End the streams but continue to serve."""
        self._plugins[plugin].end_streams()

    async def die(self, plugin: str) -> None:
        """Kill the process of a plugin."""
        if found := self._plugins.pop(plugin, None):
            # A call that hangs fails. If it returned just before, the kubelet's next call could come before or after
            # the end of the stream.
            await found.close()
            self._open(plugin)

    async def behave(self, plugin: str, call: str, way: str) -> None:
        """Choose how a plugin answers a call from now on."""
        found, setting = self._plugins[plugin], f"on_{call}"
        usual = getattr(ScriptedPlugin(self._directory), setting) if call != "prefer" else first
        if way == "hang":
            gate = self._gates.setdefault(plugin, asyncio.Event())

            async def late(request: Any, context: Any) -> Any:  # noqa: ANN401 - gRPC's
                await gate.wait()
                return await usual(request, context)

            setattr(found, setting, late)
        else:
            answers = {"usual": usual, "error": refuse(grpc.StatusCode.INTERNAL, "not today"), **ODD}
            setattr(found, setting, answers[way])

    async def release(self, plugin: str) -> None:
        """Let the calls that hang return."""
        self._open(plugin)

    # Steps of the kubelet and of pods.

    async def start(self) -> None:
        """Start the kubelet, and the sentinel, a plugin whose lists show how far the kubelet has got."""
        if self._sentinel:
            await self._sentinel.close()
        await self.kubelet.start()
        self._sentinel = ScriptedPlugin(self._directory, SENTINEL, "sentinel.sock", devices(1))
        await self._sentinel.serve()
        await self._sentinel.register()

    async def stop(self) -> None:
        """Stop the kubelet."""
        await self.kubelet.stop()

    async def crash(self) -> None:
        """Kill the kubelet."""
        await self.kubelet.crash()

    async def restart(self) -> None:
        """Stop and start the kubelet."""
        await self.stop()
        await self.start()

    async def admit(self, name: str, requests: Mapping[str, Mapping[str, int]]) -> None:
        """Admit a pod."""
        several = any(len(sizes) > 1 for sizes in requests.values())
        self._later(f"admit {name}", self._admission(name, requests, several=several))

    async def remove(self, name: str) -> None:
        """Remove a pod, if it was admitted."""
        if f"default/{name}" in self.kubelet.pods:
            await self.kubelet.remove(name)

    async def start_container(self, name: str) -> None:
        """Start a pod's container again, unless it was admitted before its plugin had sent a list."""
        if (pod := self.kubelet.pods.get(f"default/{name}")) and self.kubelet.running:
            container = next(iter(pod.containers.values()))
            if container.devices:
                self._later(f"start {name}", _start(self.kubelet, pod, container.name))

    # Observable state.

    async def beat(self) -> None:
        """Wait until the kubelet has processed a new list, and so most likely everything that was sent before it."""
        if not self.kubelet.running or self._sentinel is None:
            await asyncio.sleep(0.01)
            return
        self._beats += 1
        size = self._beats % 1000 + 1
        self._sentinel.send(devices(size))
        await self.kubelet.wait_until(lambda kubelet: len(kubelet.devices(SENTINEL)) == size, what="the sentinel")

    def observe(self) -> dict[str, Any]:
        """Return everything that must be equal on both sides."""
        kubelet = self.kubelet
        resources = sorted(set(PLUGINS.values()))
        return {
            "capacity": {name: count for name, count in kubelet.capacity().items() if name != SENTINEL},
            "devices": {name: [(d.id, d.healthy, d.numa) for d in kubelet.devices(name)] for name in resources},
            "lists": {name: [(len(u.devices), u.size, u.start) for u in kubelet.lists(name)] for name in resources},
            "registrations": [
                (each.resource, each.endpoint, each.start, words(each.error))
                for each in kubelet.registrations
                if each.resource != SENTINEL
            ],
            "pods": {key: _held(pod) for key, pod in sorted(kubelet.pods.items())},
            "calls": {name: _in_order(_call(*call) for call in plugin.calls) for name, plugin in self._plugins.items()},
            "streams": {name: plugin.streams for name, plugin in self._plugins.items()},
            "outcomes": {name: task.result() if task.done() else "pending" for name, task in self._work.items()},
        }

    def forget_calls(self) -> None:
        """Forget the calls of the steps so far."""
        for plugin in self._plugins.values():
            plugin.calls.clear()

    async def _admission(self, name: str, requests: Mapping[str, Mapping[str, int]], *, several: bool) -> str:
        start = self.kubelet.starts
        try:
            await self.kubelet.admit(name, containers=requests)
        except AdmissionError as error:
            if self.kubelet.starts != start or not self.kubelet.running:
                return "the kubelet exited"
            if not several:
                return words(error.message)
            # A kubelet asks for a container's resources in random order.
            self.forget_calls()
            return "refused"
        except ContainerStartError as error:
            return words(str(error))
        return "admitted"

    def _open(self, plugin: str) -> None:
        if gate := self._gates.pop(plugin, None):
            gate.set()

    def _later(self, name: str, work: Awaitable[str]) -> "asyncio.Future[str]":
        task = asyncio.ensure_future(work)
        self._work[f"{name} {len(self._work) + 1}"] = task
        return task


def words(text: str) -> str:
    """Return a message without the parts that are not the kubelet's own."""
    for pattern, instead in _WORDS:
        text = re.sub(pattern, instead, text, flags=re.DOTALL)
    return text


async def _error(registering: Awaitable[None]) -> str:
    try:
        await registering
    except grpc.aio.AioRpcError as error:
        lost = error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        return "connection lost" if lost else words(f"{error.code().name}: {error.details()}")
    return ""


async def _start(kubelet: FakeKubelet, pod: Any, container: str) -> str:  # noqa: ANN401 - a pod
    try:
        await kubelet.start_container(pod, container)
    except ContainerStartError as error:
        return words(error.message)
    return "started"


def _wire(listed: list[Device]) -> list[wire.Device]:
    made = [device(name, numa=numa) for name, _, numa in listed]
    for one, (_, health, _) in zip(made, listed, strict=True):
        one.health = health
    return made


def _held(pod: Any) -> dict[str, Any]:  # noqa: ANN401 - a pod
    return {
        name: (
            {resource: sorted(ids) for resource, ids in sorted(container.devices.items())},
            container.started,
            words(container.error),
        )
        for name, container in pod.containers.items()
    }


def _in_order(calls: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the calls; those for the start of a container, which may come during other admissions, are put last."""
    found = list(calls)
    starts = [call for call in found if call[0] == "PreStartContainer"]
    return [call for call in found if call not in starts] + sorted(starts)


def _call(name: str, request: Any) -> tuple[Any, ...]:  # noqa: ANN401 - of any call
    if name == "GetDevicePluginOptions":
        return (name,)
    if name == "PreStartContainer":
        return (name, sorted(request.devices_ids))
    (entry,) = request.container_requests
    if name == "Allocate":
        return (name, sorted(entry.devices_ids))
    return (name, sorted(entry.available_deviceIDs), sorted(entry.must_include_deviceIDs), entry.allocation_size)
