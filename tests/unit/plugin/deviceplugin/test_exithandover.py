"""The end of a plugin whose view of the other hubs is wrong, because a lock was removed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from hub.base import instances
from hub.base.paths import SERVING_DIR, RunDir
from hub.base.sockets import KubeletIdentity
from hub.plugin.deviceplugin.exithandover import ExitHandover
from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.metrics.process import ProcessMetrics
from hub.testing.waiting import WAIT_SECONDS
from tests.unit.plugin.deviceplugin.test_handover import RESOURCE, Hub

if TYPE_CHECKING:
    from hub.plugin.deviceplugin.connection import KubeletConnection


class _Connection:
    """A stream that is open, and that the kubelet opens again on each registration."""

    is_open = any_open = True

    def __init__(self, *, is_registering: bool = False, closes: int = 0) -> None:
        self.is_disconnected = False
        self.closes = closes
        self.is_registering = is_registering
        self.registrations = 0

    def kubelet(self) -> KubeletIdentity:
        return 1, 2, 3

    async def open(self, _kubelet: KubeletIdentity) -> None:
        self.registrations += 1

    async def settle(self) -> None:
        """Return at once; the kubelet closes the last stream as often as the test wants it to."""
        self.is_disconnected = self.closes > 0
        self.closes -= 1


def _exiting(hub: Hub, connection: _Connection) -> ExitHandover:
    return ExitHandover(
        RESOURCE,
        DevicePluginServer.__new__(DevicePluginServer),
        cast("KubeletConnection", connection),
        hub.handover,
        calls=KubeletCalls.__new__(KubeletCalls),
        notifier=hub.notifier,
        metrics=ProcessMetrics(),
    )


async def test_a_hub_that_registers_last_and_exits_is_noticed(tmp_path: Path) -> None:
    """A hub that does not know the newer one does so. The newer one registers again, and no device is lost."""
    (tmp_path / SERVING_DIR).mkdir()
    run_dirs = [RunDir(tmp_path, name) for name in ("older", "newer")]
    with instances.acquire_hub_lock(run_dirs[0]), instances.acquire_hub_lock(run_dirs[1]):
        older, newer = map(Hub, run_dirs)
        run_dirs[0].lock.unlink()
        with newer.serving():
            with older.serving():
                assert await older.register()
                assert await newer.register()
                assert newer.handover.due() == ""
                connection = _Connection()
                await _exiting(older, connection).hand_over()
                assert connection.registrations == 1
            assert newer.handover.due() == "the kubelet called hub older"
            assert await newer.register()
            assert newer.handover.is_detached


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Hub]:
    """Return the only hub of a node; its plugin is serving."""
    (tmp_path / SERVING_DIR).mkdir()
    run_dir = RunDir(tmp_path, "dphub")
    with instances.acquire_hub_lock(run_dir):
        hub = Hub(run_dir)
        with hub.serving():
            yield hub


async def test_a_registration_in_progress_is_completed(alone: Hub) -> None:
    """The process exits only after that, because the kubelet is about to call it back."""
    connection = _Connection(is_registering=True)
    exiting = asyncio.create_task(_exiting(alone, connection).hand_over())
    done, _ = await asyncio.wait([exiting], timeout=0.05)
    assert not done
    connection.is_registering = False
    alone.notifier.notify()
    await asyncio.wait_for(exiting, WAIT_SECONDS)
    assert connection.registrations == 0


async def test_a_last_registration_that_the_kubelet_ends_is_repeated(alone: Hub) -> None:
    """The kubelet has only just noticed the end of another hub's stream, and would not notice the end of ours."""
    connection = _Connection(closes=2)
    await _exiting(alone, connection).hand_over()
    assert connection.registrations == 2
