"""Nodes with an API server, a kubelet and drivers of dynamic resource allocation, in the event loop of the test."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub.testing.apiserver import CLAIMS, CLASSES, SLICES, FakeApiServer, Object, Scheduler
from hub.testing.dra import ClaimPod, ClaimUse, DraKubelet, DraOptions
from hub.testing.dra.scripted import ScriptedDriver
from tests.harness.files import remove_tree

NODE, DRIVER, CLASS = "node-1", "gpu.example.com", "gpu"
FAST = {"registry_period": 0.05, "prepare_retry": 0.05, "unprepare_retry": 0.05}
"""A kubelet's intervals, made so short that a test does not have to wait for them."""


class DraNode:
    """A node whose drivers follow a script.

    Args:
        root: The kubelet's root directory.
        api: The API server.
        kubelet: The kubelet.
        stack: The stack that stops the drivers.
    """

    def __init__(self, root: Path, api: FakeApiServer, kubelet: DraKubelet, stack: AsyncExitStack) -> None:
        self.root = root
        self.api = api
        self.kubelet = kubelet
        self.scheduler = Scheduler(api)
        self._stack = stack

    async def driver(
        self,
        instance: str = "a",
        name: str = DRIVER,
        *,
        start: bool = True,
        **fields: Any,  # noqa: ANN401 - its attributes
    ) -> ScriptedDriver:
        """Create an instance of a driver, which stops with the node, and start it unless `start` is false."""
        made = ScriptedDriver(self.root, name, instance)
        for field, value in fields.items():
            setattr(made, field, value)
        self._stack.push_async_callback(made.stop)
        return await made.start() if start else made

    def publish(self, *devices: str, driver: str = DRIVER, name: str = "") -> Object:
        """Publish devices of a driver in one slice."""
        pool = {"name": NODE, "generation": 1, "resourceSliceCount": 1}
        content = {"driver": driver, "nodeName": NODE, "pool": pool, "devices": [{"name": each} for each in devices]}
        return self.api.store.create(SLICES, {"metadata": {"name": name or f"0-{driver}"}, "spec": content})

    def claim(self, name: str, pod: str = "", count: int = 1, driver: str = DRIVER, request: str = "gpu") -> ClaimPod:
        """Create a claim for devices of a driver, allocate it, and return a pod that may use it."""
        if not any(each["metadata"]["name"] == driver for each in self.api.store.list(CLASSES)):
            selectors = [{"cel": {"expression": f'device.driver == "{driver}"'}}]
            self.api.store.create(CLASSES, {"metadata": {"name": driver}, "spec": {"selectors": selectors}})
        exactly = {"deviceClassName": driver, "allocationMode": "ExactCount", "count": count}
        spec = {"devices": {"requests": [{"name": request, "exactly": exactly}]}}
        self.api.store.create(CLAIMS, {"metadata": {"name": name}, "spec": spec}, "default")
        self.scheduler.allocate(name, NODE)
        return self.user(pod or f"pod-of-{name}", name)

    def user(self, pod: str, *claims: str) -> ClaimPod:
        """Return a pod that may use these claims, with one container that uses all of them."""
        uid = f"uid-of-{pod}"
        for name in claims:
            self.scheduler.reserve(name, pod, uid)
        return ClaimPod(pod, uid, {name: name for name in claims}, {"main": [ClaimUse(name) for name in claims]})

    def uid(self, claim: str) -> str:
        """Return the UID of a claim."""
        return str(self.api.store.get(CLAIMS, claim, "default")["metadata"]["uid"])

    def slices(self) -> list[str]:
        """Return the names of all slices."""
        return [each["metadata"]["name"] for each in self.api.store.list(SLICES)]


@asynccontextmanager
async def dra_node(
    kubelet_type: type[DraKubelet] | None = None,
    **options: Any,  # noqa: ANN401 - those of DraOptions
) -> AsyncIterator[DraNode]:
    """Run a node; `options` are for the DRA side of its kubelet."""
    kubelet = kubelet_type or DraKubelet
    root = Path(tempfile.mkdtemp(prefix="dra", dir="/tmp"))  # short, as socket paths must be
    try:
        async with AsyncExitStack() as stack:
            version = options.get("version") or getattr(kubelet.dra_process_type, "version", "1.36")
            api = await stack.enter_async_context(FakeApiServer(version=version))
            api.add_node(NODE)
            wanted = DraOptions(NODE, api.url, api.kubelet_token(NODE), version=version)
            wanted = replace(wanted, **{**FAST, **options})
            started = await stack.enter_async_context(kubelet(root / "device-plugins", wanted))
            async with AsyncExitStack() as drivers:
                yield DraNode(root, api, started, drivers)
    finally:
        remove_tree(root)
