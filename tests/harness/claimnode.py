"""A node whose pods get devices through claims, with an API server, a scheduler, a kubelet and the DRA process."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hub.base.interpreter import inherited_environment, own_python
from hub.testing.apiserver import CLAIMS, CLASSES, SLICES, FakeApiServer, Object, Scheduler
from hub.testing.dra import ClaimPod, ClaimUse, DraKubelet, DraOptions
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.files import remove_tree
from tests.harness.node import Node

NODE = "node-1"
NAMESPACE = "default"
DOMAIN = "dphub.dev"
CONTAINER = "main"
FAST = {"registry_period": 0.05, "prepare_retry": 0.2, "unprepare_retry": 0.2}
"""The intervals of a kubelet, short enough for tests."""


class GivenDevices(NamedTuple):
    """What a runtime gives a container for the CDI names of its claims."""

    nodes: list[str]
    mounts: list[str]
    env: dict[str, str]
    names: list[str]
    """The names that are not in the claims' CDI files, but in those of other programs."""


class ClaimNode(Node):
    """A node on which each plugin serves a driver that has its name.

    Args:
        directory: An empty directory with a short path.
        api: The API server.
        kubelet: The kubelet.
    """

    kubelet: DraKubelet

    def __init__(self, directory: Path, api: FakeApiServer, kubelet: DraKubelet) -> None:
        self.config = directory / "circus.ini"
        """The configuration of a hub, which a test writes."""
        super().__init__(directory, self.config, kubelet=kubelet)
        self.api = api
        self.scheduler = Scheduler(api)
        self.account = api.write_account(NODE)
        self.component: subprocess.Popen[bytes] | None = None
        self.root = directory / "root"
        """The file system of the simulated node."""
        self.root.mkdir()
        self._environment |= {**api.environment, "DPHUB_NODE_NAME": NODE}

    @property
    def component_log(self) -> Path:
        """The log of the DRA process."""
        return self.directory / "component.log"

    def start_component(self) -> None:
        """Start the DRA process."""
        words = ("--account", str(self.account), "--run-dir", str(self.run_dir.path))
        environment = {**inherited_environment(), **self.api.environment, "DPHUB_NODE_NAME": NODE}
        with self.component_log.open("ab") as log:
            command = own_python("hub.dra", *words)
            self.component = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def stop_component(self) -> None:
        """Kill the DRA process."""
        if self.component:
            self.component.kill()
            self.component.wait()

    def start_driver(self, target: str, name: str, **options: Any) -> PluginProcess:  # noqa: ANN401 - those of PluginProcess
        """Start a plugin as a DRA driver."""
        env = {"DPHUB_DRA_DRIVER": driver_of(name), "DPHUB_HOST_ROOT": str(self.root), "DPHUB_NODE_NAME": NODE}
        return self.start_plugin(target, name=name, **{**options, "env": {**env, **options.get("env", {})}})

    # The API server.

    def devices(self, plugin: str) -> dict[str, Object]:
        """Return the published devices of a plugin by name, in order, each as in its slice."""
        slices = [each["spec"] for each in self.api.store.list(SLICES) if each["spec"]["driver"] == driver_of(plugin)]
        return {device["name"]: device for spec in slices for device in spec.get("devices") or ()}

    async def published(self, plugin: str, count: int) -> dict[str, Object]:
        """Wait until the kubelet has accepted the driver and this number of devices is published; return them."""
        driver = driver_of(plugin)
        await wait_until(lambda: any(up for _, up in self.kubelet.instances(driver)), f"the driver {driver}")
        await wait_until(lambda: len(self.devices(plugin)) == count, f"{count} devices of {plugin}")
        return self.devices(plugin)

    def taints(self, plugin: str) -> dict[str, list[tuple[str, str]]]:
        """Return the taints of devices that have any, each as its key, without the driver's prefix, and its value."""
        return {
            name: [(each["key"].rpartition("/")[2], each.get("value", "")) for each in device["taints"]]
            for name, device in self.devices(plugin).items()
            if device.get("taints")
        }

    async def tainted(self, plugin: str, expected: Mapping[str, list[tuple[str, str]]]) -> None:
        """Wait until exactly these devices have taints."""
        try:
            await wait_until(lambda: self.taints(plugin) == expected, f"the taints {expected} of {plugin}")
        except AssertionError as error:
            raise AssertionError(f"{error}; found {self.taints(plugin)}") from None

    def claim(self, name: str, requests: Mapping[str, Mapping[str, Any]], **spec: Any) -> Object:  # noqa: ANN401 - JSON
        """Create a claim; `requests` has, by name, the `plugin`, the `resource` and any other fields of a request."""
        made = [self._request(each, dict(wanted)) for each, wanted in requests.items()]
        content = {"metadata": {"name": name}, "spec": {"devices": {"requests": made, **spec}}}
        return self.api.store.create(CLAIMS, content, NAMESPACE)

    def _request(self, name: str, wanted: dict[str, Any]) -> Object:
        plugin, resource = wanted.pop("plugin"), wanted.pop("resource")
        return {"name": name, "exactly": {"deviceClassName": self._class(plugin, resource), **_COUNT, **wanted}}

    def _class(self, plugin: str, resource: str) -> str:
        """Return the class of a resource, which is created when it is first used."""
        driver = driver_of(plugin)
        name = f"{resource.replace('/', '.')}.{driver}"
        if not any(each["metadata"]["name"] == name for each in self.api.store.list(CLASSES)):
            terms = f'device.driver == "{driver}" && device.attributes["{driver}"].resource == "{resource}"'
            spec = {"selectors": [{"cel": {"expression": terms}}], "extendedResourceName": resource}
            self.api.store.create(CLASSES, {"metadata": {"name": name}, "spec": spec})
        return name

    # Pods.

    def schedule(self, claim: str, pod: str = "") -> ClaimPod:
        """Allocate a claim, and return a pod that may use it in one container."""
        self.scheduler.allocate(claim, NODE)
        name = pod or f"pod-of-{claim}"
        self.scheduler.reserve(claim, name, f"uid-of-{name}")
        return ClaimPod(name, f"uid-of-{name}", {claim: claim}, {CONTAINER: [ClaimUse(claim)]})

    def schedule_device(self, claim: str, plugin: str, device: str) -> ClaimPod:
        """Create a claim to which a device is allocated, whatever the slices say; return a pod that may use it."""
        found = self.claim(claim, {"devices": {"plugin": plugin, "resource": "example.com/any"}})
        result = {"request": "devices", "driver": driver_of(plugin), "pool": NODE, "device": device}
        found["status"] = {"allocation": {"devices": {"results": [result]}}}
        self.api.store.replace(CLAIMS, found, NAMESPACE)
        return self.schedule(claim)

    async def run(self, plugin: str, resource: str, claim: str, count: int = 1) -> tuple[ClaimPod, GivenDevices]:
        """Run a pod with a claim for devices of one resource; return the pod, and what its container gets."""
        self.claim(claim, {"devices": {"plugin": plugin, "resource": resource, "count": count}})
        pod = self.schedule(claim)
        return pod, await self.start_pod(pod)

    async def start_pod(self, pod: ClaimPod) -> GivenDevices:
        """Run a scheduled pod, and return what its container gets."""
        names = await asyncio.wait_for(self.kubelet.run(pod), _POD_SECONDS)
        return self.given(names[CONTAINER])

    async def end(self, pod: ClaimPod) -> None:
        """Terminate a pod, and release its claims."""
        await asyncio.wait_for(self.kubelet.end(pod), _POD_SECONDS)
        for claim in pod.claims.values():
            self.scheduler.release(claim, pod.uid)

    def allocated(self, claim: str) -> list[str]:
        """Return the devices of a claim."""
        status = self.api.store.get(CLAIMS, claim, NAMESPACE).get("status") or {}
        return [each["device"] for each in status.get("allocation", {}).get("devices", {}).get("results", ())]

    # What a container runtime reads.

    @property
    def cdi_files(self) -> list[Path]:
        """The CDI files of claims."""
        return sorted(self.root.glob("var/run/cdi/*-claim-*.json"))

    def given(self, names: list[str]) -> GivenDevices:
        """Return what a runtime gives a container for CDI names."""
        edits = dict(self._edits())
        own = [edits[name] for name in names if name in edits]
        nodes = [node["path"] for each in own for node in each.get("deviceNodes", ())]
        mounts = [mount["containerPath"] for each in own for mount in each.get("mounts", ())]
        env = dict(text.split("=", 1) for each in own for text in each.get("env", ()))
        return GivenDevices(nodes, mounts, env, [name for name in names if name not in edits])

    def _edits(self) -> Iterator[tuple[str, Object]]:
        for path in self.cdi_files:
            content = json.loads(path.read_text())
            for device in content["devices"]:
                yield f"{content['kind']}={device['name']}", device["containerEdits"]


_COUNT = {"allocationMode": "ExactCount", "count": 1}
_POD_SECONDS = 60.0


def driver_of(plugin: str) -> str:
    """Return the name of a plugin's driver."""
    return f"{plugin}.{DOMAIN}"


@asynccontextmanager
async def claim_node(version: str = "1.36", **options: Any) -> AsyncIterator[ClaimNode]:  # noqa: ANN401 - those of DraOptions
    """Run a node with everything except plugins."""
    directory = Path(tempfile.mkdtemp(prefix="dra", dir="/tmp"))  # short, as the paths of sockets must be
    try:
        async with FakeApiServer(directory, version=version) as api:
            api.add_node(NODE)
            token, authority = api.kubelet_token(NODE), api.authority
            wanted = replace(DraOptions(NODE, api.url, token, authority, version), **{**FAST, **options})
            node = ClaimNode(directory, api, DraKubelet(directory / "device-plugins", wanted))
            try:
                async with node:
                    node.start_component()
                    yield node
            finally:
                node.stop_component()
                for plugin in node.plugins:
                    # The output is shown if the test fails.
                    sys.stdout.write(plugin.log)
                for log in (node.component_log, node.log):
                    sys.stdout.write(log.read_text() if log.exists() else "")
    finally:
        remove_tree(directory)
