"""A node with the DRA process, an API server, and a kubelet that a test controls."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from hub.base.interpreter import inherited_environment, own_python
from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.wire import dra_pb2, drahealth_pb2, pluginregistration_pb2
from hub.kubelet.wire.dra_pb2_grpc import DRAPluginStub
from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationStub
from hub.model.heartbeat import WATCHDOG_VARIABLE
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node
from tests.simulators.apiserver import NODE
from tests.simulators.draserver import DraApiServer

DRIVER = "stub.dphub.dev"


class DraNode(Node):
    """A node on which the stub serves a DRA driver.

    Args:
        directory: An empty directory with a short path.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.api = DraApiServer(directory)
        self.component: subprocess.Popen[bytes] | None = None
        self.host = directory / "host"
        self.host.mkdir()

    @property
    def cdi_files(self) -> list[Path]:
        """The CDI files, which a container runtime would read."""
        return sorted(self.host.glob("var/run/cdi/*.json"))

    @property
    def registration_sockets(self) -> list[Path]:
        """The sockets that a kubelet would find."""
        return sorted(self.directory.glob("plugins_registry/*.sock"))

    def use(self, config: Path) -> None:
        """Make hubs use this circus.ini, and their component this API server."""
        self._config = config
        self._environment |= {**self.api.environment, "DPHUB_NODE_NAME": NODE}

    def start_component(self) -> None:
        """Start the DRA process."""
        words = ("--account", str(self.api.account_dir), "--run-dir", str(self.run_dir.path))
        with (self.directory / "component.log").open("ab") as log:
            self.component = subprocess.Popen(
                own_python("hub.dra", *words),
                env={**inherited_environment(), **self.api.environment, "DPHUB_NODE_NAME": NODE},
                stdout=log,
                stderr=log,
            )

    def stop_component(self) -> None:
        """Kill the DRA process."""
        if self.component:
            self.component.kill()
            self.component.wait()

    def start_driver(self, *, watchdog: float = 0, **options: Any) -> PluginProcess:  # noqa: ANN401 - those of PluginProcess
        """Start the stub as a DRA driver; a short limit of the watchdog, in seconds, makes its heartbeats frequent."""
        env = {"DPHUB_DRA_DRIVER": DRIVER, "DPHUB_HOST_ROOT": str(self.host), "DPHUB_NODE_NAME": NODE}
        return self.start_plugin(env=env | {WATCHDOG_VARIABLE: f"{watchdog:g}"}, **options)

    @asynccontextmanager
    async def registered(self) -> AsyncIterator["KubeletClient"]:
        """Register the driver as a kubelet does, and stay connected until the block ends."""
        await wait_until(lambda: self.registration_sockets, "a registration socket")
        async with _connected(self.registration_sockets[-1]) as channel:
            stub = RegistrationStub(channel)
            info = await stub.GetInfo(pluginregistration_pb2.InfoRequest(), timeout=10, wait_for_ready=True)
            async with _connected(Path(info.endpoint)) as service:
                client = KubeletClient(info, service)
                await stub.NotifyRegistrationStatus(
                    pluginregistration_pb2.RegistrationStatus(plugin_registered=True), timeout=5
                )
                yield client


class KubeletClient:
    """A kubelet's calls to a driver.

    Args:
        info: What the driver has reported about itself.
        channel: A connection to its service.
    """

    def __init__(self, info: pluginregistration_pb2.PluginInfo, channel: grpc.aio.Channel) -> None:
        self.info = info
        self._channel = channel
        self._stub = DRAPluginStub(channel)

    async def prepare(self, *uids: str) -> dict[str, Any]:
        """Prepare claims; return the CDI names of each, or its error."""
        request = dra_pb2.NodePrepareResourcesRequest(claims=map(_claim, uids))
        answer = await self._stub.NodePrepareResources(request, timeout=45)
        return {
            uid: each.error or [name for device in each.devices for name in device.cdi_device_ids]
            for uid, each in answer.claims.items()
        }

    async def unprepare(self, *uids: str) -> dict[str, str]:
        """Release claims; return the error of each."""
        request = dra_pb2.NodeUnprepareResourcesRequest(claims=map(_claim, uids))
        answer = await self._stub.NodeUnprepareResources(request, timeout=45)
        return {uid: each.error for uid, each in answer.claims.items()}

    async def prepare_by_v1beta1(self, uid: str) -> list[str]:
        """Prepare a claim as an older kubelet does; return the devices."""
        call = self._channel.unary_unary(
            "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodePrepareResources",
            request_serializer=dra_pb2.NodePrepareResourcesRequest.SerializeToString,
            response_deserializer=dra_pb2.NodePrepareResourcesResponse.FromString,
        )
        answer = await call(dra_pb2.NodePrepareResourcesRequest(claims=[_claim(uid)]))
        return [device.device_name for device in answer.claims[uid].devices]

    async def health(self, version: str = "v1alpha1") -> AsyncIterator[dict[str, str]]:
        """Yield the health of all devices: the reason, or `healthy`."""
        call = self._channel.unary_stream(
            f"/{version}.DRAResourceHealth/NodeWatchResources",
            request_serializer=drahealth_pb2.NodeWatchResourcesRequest.SerializeToString,
            response_deserializer=drahealth_pb2.NodeWatchResourcesResponse.FromString,
        )
        async for answer in call(drahealth_pb2.NodeWatchResourcesRequest()):
            yield {
                each.device.device_name: "healthy" if each.health == drahealth_pb2.HEALTHY else each.message
                for each in answer.devices
            }


def _claim(uid: str) -> dra_pb2.Claim:
    return dra_pb2.Claim(namespace="team", uid=uid, name=f"claim-{uid}")


@asynccontextmanager
async def _connected(socket: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"unix:{os.fspath(socket)}", options=CHANNEL_OPTIONS) as channel:
        yield channel
