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
async def publishing() -> AsyncIterator[Publishing]:
    """Run a publisher."""
    publishing = Publishing()
    yield publishing
    publishing.task.cancel()
    await asyncio.gather(publishing.task, return_exceptions=True)


async def test_devices_are_published_and_changed(publishing: Publishing) -> None:
    """The state says so, with the name of the pool."""
    publishing.publish(device("a"), device("b"))
    await publishing.published("a", "b")
    assert publishing.states[-1] == PublicationState(published=True, pool="node-1")

    publishing.publish(device("a", TAINT), device("b"))
    await wait_until(lambda: publishing.store.taints() == {"a": [(TAINT["key"], "plugin")]}, "the taint")

    publishing.publish(device("a"), device("b"))
    await wait_until(lambda: not publishing.store.taints(), "no taint")
    assert [method for method, _ in publishing.store.writes] == ["POST", "PUT", "PUT"]


async def test_a_restart_writes_nothing(publishing: Publishing) -> None:
    """The slices of the previous process are adopted."""
    publishing.publish(device("a", TAINT))
    await publishing.published("a")

    again = Publishing(publishing.store)
    again.publish(device("a", TAINT))
    await again.published("a")
    again.task.cancel()

    assert len(publishing.store.writes) == 1


async def test_nothing_is_written_while_the_kubelet_does_not_have_the_driver(publishing: Publishing) -> None:
    """A pod that is scheduled to such a node would wait."""
    publishing.publish(device("a"), registered=False)
    await wait_until(lambda: bool(publishing.states), "a state")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not publishing.store.writes

    publishing.publish(device("a"))
    await publishing.published("a")


async def test_slices_that_a_kubelet_deletes_are_restored(publishing: Publishing) -> None:
    """A kubelet deletes all slices of its node when it starts, perhaps after the driver has registered."""
    publishing.publish(*(device(f"d-{n}") for n in range(65)))
    await wait_until(lambda: len(publishing.store.slices) == 2 and publishing.states[-1].published, "two slices")

    for name in list(publishing.store.slices):
        publishing.store.remove(name)

    await wait_until(lambda: len(publishing.store.devices) == 65, "both slices again")


async def test_a_node_that_is_created_again_owns_the_slices(publishing: Publishing) -> None:
    """The API server deletes the slices of a node that is gone; those of the next node of its name stay."""
    publishing.publish(device("a"))
    await publishing.published("a")
    publishing.client.node_uid = "uid-of-the-next"
    publishing.store.remove(next(iter(publishing.store.slices)))
    await publishing.published("a")
    (owner,) = {each["metadata"]["ownerReferences"][0]["uid"] for each in publishing.store.slices.values()}
    assert owner == "uid-of-the-next"


async def test_taints_that_the_server_drops_leave_the_devices_out(publishing: Publishing) -> None:
    """Before Kubernetes 1.36, nothing else would keep pods away from a broken device."""
    publishing.store.drops_taints = True

    publishing.publish(device("a", TAINT), device("b"))

    await publishing.published("b")
    assert "which need Kubernetes 1.36" in publishing.states[-1].problem


async def test_rejected_slices_are_not_sent_again_until_they_change(publishing: Publishing) -> None:
    """The API server's message is in the state."""
    publishing.publish({"name": "a", "attributes": {"x": {"string": "x" * 65}}})
    await wait_until(lambda: "a value is too long" in publishing.states[-1].problem, "the message")

    publishing.publish(device("a"))
    await publishing.published("a")
    assert publishing.states[-1].problem == ""


async def test_a_conflict_is_resolved(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has written in between: the slices are read again."""
    monkeypatch.setattr("hub.apiserver.errors._FIRST_DELAY", 0)
    publishing.publish(device("a"))
    await publishing.published("a")

    publishing.client.errors = [ApiError(409, "it has changed")]
    publishing.publish(device("b"))

    await publishing.published("b")


async def test_the_slices_of_a_driver_that_is_no_longer_used_are_deleted(publishing: Publishing) -> None:
    """It does not matter whether the kubelet has the driver: no claim should get a device from it."""
    publishing.publish(device("a"))
    await publishing.published("a")

    publishing.publisher.publish(Publication(DRIVER, (), registered=False, withdrawn=True))

    await wait_until(lambda: not publishing.store.slices, "no slice")
    await wait_until(lambda: publishing.states[-1].published, "the state")
