"""How other hubs affect the registration of a resource: which may register at this moment, and which have to."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hub.base import instances
from hub.base.notifier import Notifier
from hub.base.paths import SERVING_DIR, RunDir
from hub.base.sockets import socket_name
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin import handover
from hub.plugin.deviceplugin.connection import RegistrationError
from hub.plugin.deviceplugin.handover import Handover
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.deviceplugin.servicer import DevicePluginServicer
from hub.plugin.ownership import Ownership
from hub.testing.waiting import WAIT_SECONDS

PLUGIN, RESOURCE = "stub", "example.com/stub"


class Hub:
    """A hub with a plugin that has one resource.

    Args:
        run_dir: The run directory, which is the plugin directory too.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self.name = run_dir.instance
        self.notifier = Notifier()
        self.ownership = Ownership(run_dir, PLUGIN, run_dir.path)
        self._path = run_dir.path / socket_name(RESOURCE, self.name, run_dir.path)
        server = DevicePluginServer(self._path, DevicePluginServicer.__new__(DevicePluginServicer), self.notifier)
        self.handover = Handover(RESOURCE, server, self.ownership, self.notifier)
        self.decoys = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Hold the plugin's lock and listen, until the block ends."""
        self.ownership.acquire()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._path))
            listening.listen()
            yield
        self._path.unlink()
        self.ownership.release()

    async def register(self, kubelet_age: float = 3600) -> bool:
        """Register if the hubs that are serving now allow it; return whether they did."""
        async with self.handover.turn(kubelet_age) as may_register:
            if may_register:
                await self.handover.complete(self._refuse_decoy)
            return may_register

    async def _refuse_decoy(self, _decoy: Path) -> RegistrationError:
        self.decoys += 1
        return RegistrationStatus.REJECTED, "failed to get device plugin options"


Three = tuple[Hub, Hub, Hub]


@pytest.fixture
def hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Three]:
    """Create three hubs, in the order they were started; none of their plugins is serving yet."""
    monkeypatch.setattr(handover, "SEEN_AFTER", 0.05)
    monkeypatch.setattr(handover, "LINGER", 0.05)
    (tmp_path / SERVING_DIR).mkdir()
    run_dirs = [RunDir(tmp_path, name) for name in ("first", "second", "third")]
    with ExitStack() as running:
        for run_dir in run_dirs:
            running.enter_context(instances.acquire_hub_lock(run_dir))
        first, second, third = (Hub(run_dir) for run_dir in run_dirs)
        yield first, second, third


async def test_a_middle_hub_does_not_register_over_a_newer_one(hubs: Three) -> None:
    """This holds even if the newer hub began to serve after the middle hub's last check, and the older hub is gone."""
    first, second, third = hubs
    with second.serving():
        with first.serving():
            assert await second.register()
            assert second.handover.due() == ""
        assert second.decoys == 1
        await second.notifier.wait_for(lambda: bool(second.handover.due()), WAIT_SECONDS)
        assert second.handover.due() == "hub first is gone"
        with third.serving():
            assert not await second.register()
            assert second.handover.due() == ""
            assert await third.register()
            assert third.decoys == 1


async def test_the_only_hub_registers_without_a_decoy(hubs: Three) -> None:
    """It does so to make sure that the kubelet notices when it exits."""
    first, second, _ = hubs
    with second.serving():
        with first.serving():
            await second.register()
            assert second.handover.would_end_unnoticed()
        await second.notifier.wait_for(lambda: bool(second.handover.due()), WAIT_SECONDS)
        await second.register()
        assert second.decoys == 1
        assert second.handover.due() == ""
        assert not second.handover.would_end_unnoticed()


async def test_a_hub_that_is_about_to_exit_begins_no_registration(hubs: Three) -> None:
    """The kubelet would call back a process that has exited, and then not notice the end of its other streams."""
    first, second, _ = hubs
    with second.serving():
        with first.serving():
            await second.register()
        await second.notifier.wait_for(lambda: bool(second.handover.due()), WAIT_SECONDS)
        second.handover.close()
        assert second.handover.due() == ""
        assert not await second.register()


async def test_a_new_kubelet_knows_nothing_of_hubs_that_ended_before(hubs: Three) -> None:
    """One registration is therefore enough."""
    first, second, _ = hubs
    with second.serving():
        with first.serving():
            await second.register()
        second.handover.refresh()
        await second.register(kubelet_age=0)
        assert second.decoys == 1
        assert not second.handover.would_end_unnoticed()
        await Notifier().wait_for(lambda: False, 0.06)
        assert second.handover.due() == ""


async def test_a_hub_that_leaves_is_the_last_only_if_no_other_serves(hubs: Three) -> None:
    """It must not take the resource from a newer hub that serves, even one that it has not seen yet."""
    first, second, _ = hubs
    with first.serving():
        await first.register()
        first.ownership.release()
        assert first.handover.is_last()
        second.ownership.acquire()
        # The second hub's plugin may serve only other resources.
        assert first.handover.is_last()
        second.ownership.release()
        with second.serving():
            assert not first.handover.is_last()
        assert first.handover.is_last()


async def test_a_hub_that_has_just_started_is_waited_for(tmp_path: Path) -> None:
    """An exiting hub checks once more before it leaves the resource without a server."""
    (tmp_path / SERVING_DIR).mkdir()
    with instances.acquire_hub_lock(RunDir(tmp_path, "first")):
        first = Hub(RunDir(tmp_path, "first"))
        with first.serving():
            assert await first.register()
            assert first.handover.is_alone()
            assert first.handover.may_end()
            with instances.acquire_hub_lock(RunDir(tmp_path, "second")):
                assert not first.handover.may_end()
                assert not first.handover.is_alone()


async def test_the_next_hub_registers_when_the_newest_leaves(hubs: Three) -> None:
    """Only the next one registers, and only then; soon after the kubelet has called it, the newest may exit."""
    first, second, third = hubs
    with first.serving(), second.serving(), third.serving():
        for each in hubs:
            await each.register()
        assert not third.handover.is_handed_over()
        third.ownership.release()
        first.handover.refresh()
        second.handover.refresh()
        assert (first.handover.due(), second.handover.due()) == ("", "the kubelet called hub third")
        assert not await third.register()
        assert await second.register()
        assert second.decoys == 1
        third.handover.refresh()
        assert not third.handover.is_handed_over()
        await Notifier().wait_for(lambda: False, 0.06)
        assert third.handover.is_handed_over()


async def test_a_hub_that_came_and_went_unseen_is_noticed(hubs: Three) -> None:
    """It may have registered, so the older hub registers, and again once the kubelet must have noticed the exit."""
    first, _, third = hubs
    with first.serving():
        await first.register()
        with third.serving():
            await third.register()
        first.handover.refresh()
        assert first.handover.due() == "the kubelet called hub third"
        await first.register()
        assert first.decoys == 1
        await first.notifier.wait_for(lambda: bool(first.handover.due()), WAIT_SECONDS)
        assert first.handover.due() == "hub third is gone"
        await first.register()
        assert first.decoys == 1
