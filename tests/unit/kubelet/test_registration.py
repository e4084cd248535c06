"""The call that registers a resource."""

from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.kubelet.registration import KubeletUnavailable, register
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedKubelet


async def test_a_connection_made_late_reaches_no_other_kubelet(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet that replaces the socket just before the connection is established gets no registration."""
    socket, kubelet, following = _two_kubelets(directory)
    make_channel = grpc.aio.insecure_channel

    def connect_late(*args: Any, **options: Any) -> grpc.aio.Channel:  # noqa: ANN401 - those of gRPC
        (directory / "next" / KUBELET_SOCKET).replace(socket)
        return make_channel(*args, **options)

    async with kubelet.listening(), following.listening():
        identity = _identity(socket)
        monkeypatch.setattr(grpc.aio, "insecure_channel", connect_late)
        await _register(socket, identity)
        assert _identity(socket) != identity
        assert (len(kubelet.requests), len(following.requests)) == (1, 0)


async def test_another_kubelet_gets_no_registration(directory: Path) -> None:
    """A registration for a kubelet that is gone ends without a call."""
    socket, kubelet, following = _two_kubelets(directory)
    async with kubelet.listening(), following.listening():
        identity = _identity(socket)
        (directory / "next" / KUBELET_SOCKET).replace(socket)
        with pytest.raises(KubeletUnavailable, match="another kubelet"):
            await _register(socket, identity)
        assert (kubelet.requests, following.requests) == ([], [])


def _two_kubelets(directory: Path) -> tuple[Path, ScriptedKubelet, ScriptedKubelet]:
    (directory / "next").mkdir()
    return directory / KUBELET_SOCKET, ScriptedKubelet(directory, ""), ScriptedKubelet(directory / "next", "")


def _identity(socket: Path) -> KubeletIdentity:
    identity = kubelet_identity(socket)
    assert identity
    return identity


async def _register(socket: Path, kubelet: KubeletIdentity) -> None:
    await register(socket, kubelet, socket.with_name("plugin.sock"), STUB, wire.DevicePluginOptions())
