"""The slices of a driver follow what its plugin process publishes, whatever else happens to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.apiserver.errors import ApiError
from hub.dra.publisher import Publisher
from hub.model.dra import Publication, PublicationState
from hub.testing.waiting import wait_until
from tests.simulators.drastore import DraStore
from tests.unit.dra.apiclient import MemoryClient

DRIVER = "stub.dphub.dev"
TAINT = {"key": f"{DRIVER}/unhealthy", "value": "plugin", "effect": "NoSchedule"}


class Publishing:
    """A publisher and its API server."""

    def __init__(self, store: DraStore | None = None) -> None:
        self.store = store or DraStore()
        self.client = MemoryClient(self.store)
        self.states: list[PublicationState] = []
        self.publisher = Publisher(self.client, "node-1", DRIVER, self.states.append)  # type: ignore[arg-type] # as above
        self.task = asyncio.ensure_future(self.publisher.run())

    def publish(self, *devices: dict[str, Any], registered: bool = True) -> None:
        """Publish devices."""
        self.publisher.publish(Publication(DRIVER, devices, registered))

    async def published(self, *names: str) -> None:
        """Wait until these devices are published."""
        done = f"{names} published"
        await wait_until(
            lambda: self.store.devices == list(names) and any(each.published for each in self.states[-1:]), done
        )


def device(name: str, *taints: dict[str, str]) -> dict[str, Any]:
    """Return a device."""
    return {"name": name, "attributes": {}, **({"taints": list(taints)} if taints else {})}


@pytest.fixture
async def it() -> AsyncIterator[Publishing]:
    """Run a publisher."""
    publishing = Publishing()
    yield publishing
    publishing.task.cancel()
    await asyncio.gather(publishing.task, return_exceptions=True)


async def test_devices_are_published_and_changed(it: Publishing) -> None:
    """The state says so, with the name of the pool."""
    it.publish(device("a"), device("b"))
    await it.published("a", "b")
    assert it.states[-1] == PublicationState(published=True, pool="node-1")

    it.publish(device("a", TAINT), device("b"))
    await wait_until(lambda: it.store.taints() == {"a": [(TAINT["key"], "plugin")]}, "the taint")

    it.publish(device("a"), device("b"))
    await wait_until(lambda: not it.store.taints(), "no taint")
    assert [method for method, _ in it.store.writes] == ["POST", "PUT", "PUT"]


async def test_a_restart_writes_nothing(it: Publishing) -> None:
    """The slices of the process before are adopted."""
    it.publish(device("a", TAINT))
    await it.published("a")

    again = Publishing(it.store)
    again.publish(device("a", TAINT))
    await again.published("a")
    again.task.cancel()

    assert len(it.store.writes) == 1


async def test_nothing_is_written_while_the_kubelet_does_not_have_the_driver(it: Publishing) -> None:
    """A pod that is scheduled to such a node would wait."""
    it.publish(device("a"), registered=False)
    await wait_until(lambda: bool(it.states), "a state")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not it.store.writes

    it.publish(device("a"))
    await it.published("a")


async def test_slices_that_a_kubelet_deletes_are_restored(it: Publishing) -> None:
    """A kubelet deletes all slices of its node when it starts, perhaps after the driver has registered."""
    it.publish(*(device(f"d-{n}") for n in range(65)))
    await wait_until(lambda: len(it.store.slices) == 2 and it.states[-1].published, "two slices")

    for name in list(it.store.slices):
        it.store.remove(name)

    await wait_until(lambda: len(it.store.devices) == 65, "both slices again")


async def test_taints_that_the_server_drops_leave_the_devices_out(it: Publishing) -> None:
    """Before Kubernetes 1.36, nothing else would keep pods away from a broken device."""
    it.store.drops_taints = True

    it.publish(device("a", TAINT), device("b"))

    await it.published("b")
    assert "which need Kubernetes 1.36" in it.states[-1].problem


async def test_rejected_slices_are_not_sent_again_until_they_change(it: Publishing) -> None:
    """The message of the API server is in the state."""
    it.publish({"name": "a", "attributes": {"x": {"string": "x" * 65}}})
    await wait_until(lambda: "a value is too long" in it.states[-1].problem, "the message")

    it.publish(device("a"))
    await it.published("a")
    assert it.states[-1].problem == ""


async def test_a_conflict_is_resolved(it: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has written in between: the slices are read again."""
    monkeypatch.setattr("hub.apiserver.errors._FIRST_DELAY", 0)
    it.publish(device("a"))
    await it.published("a")

    it.client.errors = [ApiError(409, "it has changed")]
    it.publish(device("b"))

    await it.published("b")


async def test_the_slices_of_a_driver_that_is_no_longer_used_are_deleted(it: Publishing) -> None:
    """It does not matter whether the kubelet has the driver: no claim should get a device from it."""
    it.publish(device("a"))
    await it.published("a")

    it.publisher.publish(Publication(DRIVER, (), registered=False, withdrawn=True))

    await wait_until(lambda: not it.store.slices, "no slice")
    await wait_until(lambda: it.states[-1].published, "the state")
