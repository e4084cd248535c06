"""What a claim says about the devices of one driver."""

import pytest

from hub.apiserver.errors import ApiError
from hub.dra import claims
from hub.dra.claims import claim_answer, read_claim
from hub.model.dra import ClaimQuery, ClaimResult
from tests.simulators.drastore import DraStore
from tests.unit.dra.apiclient import MemoryClient

QUERY = ClaimQuery("team", "claim-u1", "u1", "stub.dphub.dev")


def test_only_the_results_of_the_driver_count() -> None:
    """A claim may have devices of several drivers, and says which taints it tolerates."""
    claim = DraStore().allocate("u1", "a", shareID="s", adminAccess=True, tolerations=[{"key": "k"}, {}])
    other = {"request": "other", "driver": "nic.example.com", "pool": "p", "device": "a"}
    claim["status"]["allocation"]["devices"]["results"].append(other)

    answer = claim_answer(claim, QUERY)

    assert answer.results == (ClaimResult("main", "node-1", "a", "s", admin=True, tolerated=("k", "*")),)
    assert answer.pod == "pod-u1"


def test_a_claim_of_the_same_name_is_another_claim() -> None:
    """The old one was deleted, and what was prepared for it can be removed."""
    claim = DraStore().allocate("u2", "a")

    answer = claim_answer(claim, QUERY)

    assert answer.gone
    assert "another one has its name" in answer.problem


def test_a_claim_that_no_pod_has_is_not_prepared() -> None:
    """A late retry of a call would otherwise take a device that nothing releases."""
    claim = DraStore().allocate("u1", "a")
    claim["status"]["reservedFor"] = []

    assert claim_answer(claim, QUERY).problem == "the claim is not reserved for a pod"


def test_a_claim_without_an_allocation_is_not_prepared() -> None:
    """The kubelet tries again."""
    claim = DraStore().allocate("u1", "a")
    del claim["status"]["allocation"]

    assert claim_answer(claim, QUERY).problem == "the claim is not allocated"


async def test_a_claim_that_does_not_exist_is_gone() -> None:
    """An outage is not the same: then it is unknown whether the claim exists."""
    store = DraStore()

    answer = await read_claim(MemoryClient(store), QUERY)  # type: ignore[arg-type] # does what ApiClient does

    assert answer.gone
    assert "404" in answer.problem


async def test_an_outage_of_a_moment_does_not_fail_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is read as soon as the API server answers; after a longer outage, the answer says what is wrong."""
    monkeypatch.setattr(claims, "RETRY_SECONDS", 0.01)
    store = DraStore()
    store.allocate("u1", "a")
    client = MemoryClient(store)
    client.errors += [ApiError(0, "connection refused"), ApiError(503, "unavailable"), ApiError(429, "too many")]
    assert (await read_claim(client, QUERY)).results  # type: ignore[arg-type] # as above
    monkeypatch.setattr(claims, "READ_SECONDS", 0.05)
    client.errors += [ApiError(503, "unavailable")] * 100
    answer = await read_claim(client, QUERY)  # type: ignore[arg-type] # as above
    assert (answer.problem, answer.gone) == ("the claim cannot be read from the API server: 503: unavailable", False)
    client.errors[:] = [ApiError(403, "forbidden")]
    assert "403" in (await read_claim(client, QUERY)).problem  # type: ignore[arg-type] # as above
