"""Nodes on which plugins run without a hub, and clients of their sockets."""

import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub
from hub.testing import node as kit

if TYPE_CHECKING:
    from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginAsyncStub


def replace(path: Path, text: str) -> None:
    """Write a file in one step: a reader finds either the old text or the new one."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    scratch.replace(path)


def random_source() -> random.Random:
    """Return a source of random numbers; the seed is printed, so that a failure can be repeated."""
    # pytest-randomly seeds `random` before each test, so that --randomly-seed repeats this too.
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)  # noqa: S311 - not a secret


class Node(kit.Node):
    """A node on which plugins run without a hub: stub plugins, and plugins that a test writes."""

    @property
    def faults_file(self) -> Path:
        """The file in which the stub plugin finds its faults."""
        return self.run_dir.path / "stub-faults.yaml"

    def faults(self, text: str) -> None:
        """Set the stub's faults; an empty text removes them."""
        replace(self.faults_file, text)

    def write_plugin(self, code: str) -> str:
        """Write a file with this code, which must define a class P, and return the target for the command line."""
        path = self.directory / "thirdparty.py"
        head = "import os, threading, time\nfrom pathlib import Path\nfrom hub import *\n\n"
        path.write_text(f"{head}{code}")
        return f"{path}:P"

    def sockets(self) -> list[Path]:
        """Return the plugins' sockets."""
        return sockets_of_plugins(self.plugin_dir)


def sockets_of_plugins(plugin_dir: Path) -> list[Path]:
    """Return the sockets in a kubelet's plugin directory, without the kubelet's own."""
    found = plugin_dir.iterdir() if plugin_dir.exists() else ()
    return sorted(path for path in found if path.is_socket() and path.name != "kubelet.sock")


@asynccontextmanager
async def dialled(socket: Path, **options: int) -> AsyncIterator["DevicePluginAsyncStub"]:
    """Connect to a plugin's socket through a connection that no other client shares."""
    settings = [*CHANNEL_OPTIONS, *(("grpc." + key, value) for key, value in options.items())]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=settings) as channel:
        yield DevicePluginStub(channel)


def asking_for(*ids: str) -> wire.AllocateRequest:
    """Create a kubelet's Allocate request for one container."""
    return wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest(devices_ids=ids)])
