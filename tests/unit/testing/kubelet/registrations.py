"""Registrations that fail."""

import grpc.aio
import pytest

from hub.testing.scripted import ScriptedPlugin


async def refused(plugin: ScriptedPlugin, version: str = "v1beta1") -> str:
    """Register without success; return the kubelet's words."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plugin.register(version)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    return caught.value.details() or ""
