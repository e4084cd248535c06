"""The steps of `dphub demo`, which run the real hub with a fake kubelet."""

import os
import signal
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from hub.base.exits import Exit
from hub.cli.waiting import wait_for_report
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus
from hub.testing.kubelet import FakeKubelet, Pod
from hub.testing.node import Node

STUB = "stub"
RESOURCE = "example.com/stub"
LIMIT = 60.0
"""Seconds that a step may take; on an idle machine, each takes a fraction of one."""


class Step(msgspec.Struct, frozen=True):
    """One completed step."""

    title: str
    text: str
    rows: Sequence[dict[str, str]] = ()
    seconds: float | None = None
    """How long it took, if that matters."""


async def run_demo(node: Node, plugins: Sequence[str]) -> AsyncIterator[Step]:
    """Run all steps, one after another.

    Raises:
        TimeoutError: a step did not succeed; the text says which.
    """
    yield await _start(node, plugins)
    yield await _devices(node, plugins)
    yield await _admit(node)
    yield await _health(node, {"stub-3": "unplugged by the demo"}, "A device fails", 3)
    yield await _health(node, {}, "The device recovers", 4)
    yield await _restart_kubelet(node, plugins)
    yield await _kill_plugin(node)
    yield await _stop(node)


async def _start(node: Node, plugins: Sequence[str]) -> Step:
    begin = time.monotonic()
    await node.start_hub()
    states = [await _registered(node, plugin) for plugin in plugins]
    rows = [
        {"plugin": state.plugin, "process": str(state.pid), "resource": resource.name, "socket": resource.socket}
        for state in states
        for resource in state.resources
    ]
    text = "One hub; each plugin has its own process and sockets, and is registered with the kubelet."
    return Step("The hub starts", text, rows, time.monotonic() - begin)


async def _devices(node: Node, plugins: Sequence[str]) -> Step:
    states = [await _registered(node, plugin) for plugin in plugins]
    await _listed(node, [resource for state in states for resource in state.resources])
    capacity = node.kubelet.capacity()
    rows = [
        {
            "resource": resource.name,
            "capacity": str(capacity[resource.name].capacity),
            "allocatable": str(capacity[resource.name].allocatable),
            "devices": ", ".join(device.id for device in resource.devices) or resource.reason,
        }
        for state in states
        for resource in state.resources
    ]
    return Step("What the kubelet sees", "A resource without devices shows the reason.", rows)


async def _admit(node: Node) -> Step:
    pod = await node.kubelet.admit("trainer", {RESOURCE: 2})
    rows = _container_rows(pod)
    return Step("A pod is admitted", f"It requests 2 of {RESOURCE}; this is what its container gets.", rows)


def _container_rows(pod: Pod) -> list[dict[str, str]]:
    container = pod.containers["main"]
    response = container.response
    held = [("device", f"{name} of {resource}") for resource, names in container.devices.items() for name in names]
    variables = [("variable", f"{name}={value}") for name, value in response.envs.items()]
    nodes = [
        ("device file", f"{node.container_path} is {node.host_path} ({node.permissions})") for node in response.devices
    ]
    return [{"what": what, "value": value} for what, value in [*held, *variables, *nodes]]


async def _health(node: Node, unhealthy: dict[str, str], title: str, allocatable: int) -> Step:
    faults = node.run_dir.path / "stub-faults.yaml"
    scratch = faults.with_suffix(".new")
    scratch.write_bytes(msgspec.json.encode({"unhealthy": unhealthy}))
    begin = time.monotonic()
    scratch.replace(faults)
    await node.kubelet.wait_for(RESOURCE, allocatable, LIMIT)
    took = time.monotonic() - begin
    state = await wait_for_report(node.run_dir, STUB, lambda state: _unhealthy(state) == unhealthy, LIMIT)
    rows = [{"device": name, "unhealthy because": reason} for name, reason in _unhealthy(state).items()]
    return Step(title, f"The kubelet now has {allocatable} allocatable devices of {RESOURCE}.", rows, took)


def _unhealthy(state: PluginReport) -> dict[str, str]:
    return {device.id: device.reason for resource in state.resources for device in resource.devices if device.reason}


async def _restart_kubelet(node: Node, plugins: Sequence[str]) -> Step:
    kubelet = node.kubelet
    resources = [resource for plugin in plugins for resource in (await _registered(node, plugin)).resources]
    begin = time.monotonic()
    await kubelet.restart()
    await _listed(node, resources)
    rows = []
    for resource in resources:
        listed = next(update for update in kubelet.lists(resource.name) if update.start == kubelet.starts)
        rows.append({"resource": resource.name, "back after": _milliseconds(listed.time - begin)})
    text = "It deleted every socket. Each plugin created its sockets again and registered once."
    return Step("The kubelet restarts", text, rows, time.monotonic() - begin)


async def _listed(node: Node, resources: Sequence[ResourceStatus]) -> None:
    """Wait until the kubelet has the devices of each resource; registration alone does not provide them."""
    names = {resource.name for resource in resources}

    def all_listed(kubelet: FakeKubelet) -> bool:
        return names <= {update.resource for update in kubelet.lists() if update.start == kubelet.starts}

    await node.kubelet.wait_until(all_listed, LIMIT, "the kubelet to have the devices of every resource")


async def _kill_plugin(node: Node) -> Step:
    killed = await _registered(node, STUB)
    lists = len(node.kubelet.lists(RESOURCE))
    begin = time.monotonic()
    os.kill(killed.pid, signal.SIGKILL)
    await node.kubelet.wait_until(
        lambda kubelet: len(kubelet.lists(RESOURCE)) > lists and kubelet.capacity()[RESOURCE].allocatable > 0,
        LIMIT,
        f"{RESOURCE} to return",
    )
    took = time.monotonic() - begin
    back = await wait_for_report(node.run_dir, STUB, lambda state: state.pid != killed.pid, LIMIT)
    rows = [{"plugin": STUB, "killed process": str(killed.pid), "new process": str(back.pid)}]
    return Step(
        "A plugin is killed",
        "The hub restarted it, and its devices are back. The other plugins kept running.",
        rows,
        took,
    )


async def _stop(node: Node) -> Step:
    begin = time.monotonic()
    code = await node.stop_hub()
    took = time.monotonic() - begin
    left = [path.name for path in node.plugin_dir.glob("dphub-*")]
    if code != Exit.OK or left:
        raise RuntimeError(f"the hub exited with code {code} and left {left or 'no socket'} behind; see {node.log}")
    return Step("The hub stops", "Exit code 0; no processes or sockets are left behind.", (), took)


async def _registered(node: Node, plugin: str) -> PluginReport:
    def registered(state: PluginReport) -> bool:
        known = [resource.registration is RegistrationStatus.REGISTERED for resource in state.resources]
        return bool(known) and all(known)

    return await wait_for_report(node.run_dir, plugin, registered, LIMIT)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
