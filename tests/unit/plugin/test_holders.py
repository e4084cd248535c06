"""Which container uses which device, as a plugin process knows it, and which resets it retries."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import ResetRetryPolicy
from hub.api.host import Host
from hub.api.plugin import Plugin, Settings
from hub.api.runtime import Runtime
from hub.base.jsonfile import read_file
from hub.base.tasks import Tasks
from hub.kubelet.podresources import pod_resources_socket
from hub.model.history import AllocationHistory
from hub.plugin import holders as module
from hub.plugin.health.record import Fault
from hub.plugin.history import History
from hub.plugin.holders import Holder, Holders
from hub.plugin.resets.retrier import Retrier
from hub.plugin.resets.service import ResetService
from hub.testing.waiting import wait_until
from tests.unit.plugin.plugin_setup import STUB, CountingStore, Setup

TIMEOUT = 60.0


class Kubelet:
    """A kubelet with responses from the pod resources API."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plugin_dir: Path) -> None:
        self.answer: Mapping[tuple[str, str], str] | None = {}
        self.asked = 0
        pod_resources_socket(plugin_dir).parent.mkdir()
        pod_resources_socket(plugin_dir).touch()
        monkeypatch.setattr(module, "list_holders", self._list)

    async def _list(self, _socket: Path) -> Mapping[tuple[str, str], str] | None:
        self.asked += 1
        return self.answer


@pytest.fixture
def plugin_dir(tmp_path: Path) -> Path:
    """Make the kubelet's plugin directory."""
    (tmp_path / "device-plugins").mkdir()
    return tmp_path / "device-plugins"


@pytest.fixture
def kubelet(monkeypatch: pytest.MonkeyPatch, plugin_dir: Path) -> Kubelet:
    """Create a kubelet that answers as a test needs."""
    return Kubelet(monkeypatch, plugin_dir)


async def test_a_device_has_its_containers(kubelet: Kubelet, plugin_dir: Path) -> None:
    """A device has the containers of all its shares, each once; other plugins' resources do not count."""
    it = Setup()
    it.scan(Device("a", physical="card"), Device("b", physical="card"), Device("c"))
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    kubelet.answer = {(STUB, "a"): "ns/pod/main", (STUB, "b"): "ns/pod/main", ("other.com/x", "c"): "ns/x/main"}
    assert await holders.refresh()
    assert holders.of_device("card") == [Holder("ns/pod/main")]
    assert holders.of_device(f"{STUB} c") == []
    assert holders.of(STUB) == {"a": "ns/pod/main", "b": "ns/pod/main"}


async def test_an_answer_before_the_first_scan(kubelet: Kubelet, plugin_dir: Path) -> None:
    """The kubelet's response counts as soon as the devices are known: nothing in use is shown as free."""
    it = Setup()
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    kubelet.answer = {(STUB, "a"): "pod"}
    assert await holders.refresh()
    it.scan(Device("a"))
    assert holders.of(STUB) == {"a": "pod"}


async def test_a_removed_device_is_remembered_while_it_is_used(kubelet: Kubelet, plugin_dir: Path) -> None:
    """Its container still has the physical device, though the plugin no longer offers it."""
    it = Setup()
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    running = asyncio.create_task(holders.run())
    it.scan(Device("old", physical="card"), Device("other", physical="second"))
    await asyncio.sleep(0.01)
    kubelet.answer = {(STUB, "old"): "ns/pod/main"}
    it.scan(Device("new", physical="card"), Device("other", physical="second"))
    for _ in range(2):
        assert await holders.refresh()
        assert holders.of_device("card") == [Holder("ns/pod/main")]
        assert holders.of_device("second") == []
    kubelet.answer = {}
    assert await holders.refresh()
    assert holders.of_device("card") == []
    running.cancel()


async def test_a_device_that_was_never_seen_may_be_a_share_of_any(kubelet: Kubelet, plugin_dir: Path) -> None:
    """It may date from before a restart of the plugin; a whole device is not a share of another."""
    it = Setup()
    it.scan(Device("new", physical="card"), Device("whole"))
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    kubelet.answer = {(STUB, "old"): "ns/pod/main"}
    assert await holders.refresh()
    (found,) = holders.of_device("card")
    assert found.describe("is using it") == "ns/pod/main may be using it: it is using old, which was removed"
    assert holders.of_device(f"{STUB} whole") == []


async def test_without_an_answer_nothing_is_known(kubelet: Kubelet, plugin_dir: Path) -> None:
    """Nothing is forgotten, either."""
    it = Setup()
    it.scan(Device("old", physical="card"))
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    kubelet.answer = {(STUB, "old"): "ns/pod/main"}
    assert await holders.refresh()
    it.scan(Device("new", physical="card"))
    kubelet.answer = None
    assert not await holders.refresh()
    assert not holders.known
    kubelet.answer = {(STUB, "old"): "ns/pod/main"}
    assert await holders.refresh()
    assert holders.of_device("card") == [Holder("ns/pod/main")]


async def test_the_history_has_what_happens_between_answers(kubelet: Kubelet, plugin_dir: Path, tmp_path: Path) -> None:
    """A device that becomes unhealthy is in the history of its container at once, without another request."""
    it = Setup()
    file = tmp_path / "history.json"
    history = History(file, it.inventory, it.ownership, it.metrics)
    holders = Holders(plugin_dir, it.inventory, it.status, history)
    it.scan(Device("a"))
    kubelet.answer = {(STUB, "a"): "ns/pod/main"}
    running = asyncio.create_task(holders.run())

    def reasons() -> list[str]:
        found = read_file(file, AllocationHistory)
        return [change.reason for each in found.allocations for change in each.health] if found else []

    await wait_until(file.exists, "the history")
    it.scan(Device("a", unhealthy="no link"))
    await wait_until(lambda: reasons() == ["no link"], "the change of health")
    assert kubelet.asked == 1
    running.cancel()


class _FailingStore(CountingStore):
    """A store that fails when cordons are read, as with a bug in the hub."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - those of the store
        super().__init__(*args)
        self.rounds = 0
        self.done = asyncio.Event()

    def admin_faults(self, _source: str) -> dict[str, Fault]:
        """Fail, and count it."""
        self.rounds += 1
        if self.rounds == 3:
            self.done.set()
        raise RuntimeError("no idea")


class _Resettable(Plugin):
    reset = "nowhere:reset"
    reset_retry = ResetRetryPolicy(interval=0.01, startup_delay=0)


async def test_an_error_does_not_end_the_retries(plugin_dir: Path) -> None:
    """It is logged once, and the next round takes place."""
    it = Setup(_FailingStore)
    store = it.store
    assert isinstance(store, _FailingStore)
    plugin = _Resettable(Settings(), Host(), Runtime())
    holders = Holders(plugin_dir, it.inventory, it.status, it.history)
    resets = ResetService(plugin, store, it.inventory, it.metrics, it.status)
    retrier = Retrier(plugin, plugin_dir, inventory=it.inventory, health=store, resets=resets, holders=holders)
    it.scan(Device("a"))
    with capture_logs() as log:
        running = asyncio.create_task(Tasks(it.status, retry=0).run("recovery", retrier.run))
        async with asyncio.timeout(TIMEOUT):
            await store.done.wait()
        running.cancel()
    # Threads of other tests may still log something.
    assert {line["event"] for line in log if "task" in line} == {"task failed", "task restarted"}
