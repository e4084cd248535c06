"""What a broken kubelet's pod resources API may return."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio

from hub.kubelet.podresources import list_holders
from hub.kubelet.wire import podresources_pb2 as wire
from tests.fuzz.choices import Choices, edited, odd_text
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Target


def answer(choices: Choices) -> bytes:
    """Create a decodable response; if no choices are made, it is an ordinary one."""
    return wire.ListPodResourcesResponse(
        pod_resources=[
            wire.PodResources(
                name=odd_text(choices, ["trainer"]),
                namespace=odd_text(choices, ["default"]),
                containers=[_container(choices) for _ in range(1 + choices.below(3))],
            )
            for _ in range(1 + choices.below(3))
        ]
    ).SerializeToString()


def _container(choices: Choices) -> wire.ContainerResources:
    names = [odd_text(choices, ["stub-0", "stub-1"]) for _ in range(1 + choices.below(3))]
    nodes = [wire.NUMANode(ID=choices.of((1, 0, -1, 2**63 - 1)))]
    devices = wire.ContainerDevices(
        resource_name=odd_text(choices, ["example.com/stub"]),
        device_ids=names * choices.of((1, 1, 0, 2, 100)),
        topology=wire.TopologyInfo(nodes=nodes),
    )
    return wire.ContainerResources(name=odd_text(choices, ["main"]), devices=[devices])


class PodResourcesAnswer(Target):
    """Any bytes count either as a response or as no response; a plugin never fails because of them."""

    inputs = 350

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._runner = asyncio.Runner()
        self._socket = directory / "kubelet.sock"
        self._content = b""
        self._runner.run(self._start())

    async def _start(self) -> None:
        async def respond(_request: bytes, _context: Any) -> bytes:  # noqa: ANN401 - gRPC's
            return self._content

        self._server = grpc.aio.server()
        # Without a serializer, gRPC sends the bytes unchanged.
        method = grpc.unary_unary_rpc_method_handler(respond)
        handler = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": method})
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()

    def make(self, choices: Choices) -> Input:
        """Create a response, and change the bytes of every other one."""
        is_whole = choices.below(2)
        content = answer(choices if is_whole else Choices(b""))
        return [Piece.of(content if is_whole else edited(choices, content))]

    def consume(self, pieces: Input) -> None:
        """Query the API."""
        self._content = pieces[0].content
        holders = self._runner.run(list_holders(self._socket))
        for (resource, device), container in (holders or {}).items():
            _ = f"{resource} {device} {container}".encode()

    def close(self) -> None:
        """Stop the server."""
        self._runner.run(self._server.stop(None))
        self._runner.close()
