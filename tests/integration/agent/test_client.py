"""The client of the API server: what it does when calls fail."""

import asyncio
from pathlib import Path

import pytest

from hub.agent.objects import PartialObject, WatchEvent
from hub.apiserver.account import HOST_VARIABLE, Account
from hub.apiserver.client import ApiClient
from hub.apiserver.errors import ApiError, Backoff
from hub.apiserver.ratelimit import RateLimit
from hub.base.errors import ConfigError
from tests.simulators.apiserver import FakeApiServer, Fault, make_certificate

PATH = "/api/v1/nodes/node-1"


def _client(api: FakeApiServer, timeout: float = 10) -> ApiClient:
    return ApiClient(api.account(), RateLimit(1000, 1000), timeout=timeout)


async def test_a_call(api: FakeApiServer) -> None:
    """A call returns the requested part of the object."""
    assert (await _client(api).get(PATH, PartialObject)).metadata.uid == "uid-of-node-1"


async def test_a_new_token_is_used_at_once(api: FakeApiServer) -> None:
    """The kubelet replaces the token before it expires; the next call has the new one."""
    client = _client(api)
    await client.get(PATH, PartialObject)
    api.tokens = {"token-2"}
    with pytest.raises(ApiError) as rejected:
        await client.get(PATH, PartialObject)
    assert (rejected.value.status, rejected.value.is_transient) == (401, True)
    api.write_token("token-2")
    await client.get(PATH, PartialObject)


async def test_another_authority_is_not_trusted(api: FakeApiServer, tmp_path: Path) -> None:
    """The token goes only to a server with a certificate of the cluster's authority."""
    other = tmp_path / "other"
    other.mkdir()
    make_certificate(other)
    (other / "server.crt").replace(api.account_dir / "ca.crt")
    with pytest.raises(ApiError, match="certificate verify failed"):
        await _client(api).get(PATH, PartialObject)
    assert api.requests == []


async def test_another_server_of_the_authority_is_not_trusted(api: FakeApiServer) -> None:
    """A kubelet, for example, may have a certificate of the same authority, but not one for this address."""
    account = Account(api.account_dir, api.environment | {HOST_VARIABLE: "localhost"})
    with pytest.raises(ApiError, match="certificate verify failed"):
        await ApiClient(account).get(PATH, PartialObject)
    assert api.requests == []


async def test_a_redirect_is_not_followed(api: FakeApiServer) -> None:
    """A redirect could send the token to another server."""
    api.faults = [Fault(302, {"Location": f"https://127.0.0.1:{api.port}{PATH}"})]
    with pytest.raises(ApiError) as failed:
        await _client(api).get(PATH, PartialObject)
    assert failed.value.status == 302
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("fault", "is_outage", "is_transient"),
    [
        (Fault(409), False, True),
        (Fault(422), False, True),
        (Fault(403), False, False),
        (Fault(429, {"Retry-After": "7"}), True, True),
        (Fault(500), True, True),
        (Fault(503), True, True),
        (Fault(0, hang=True), True, True),
        (Fault(200, lose=True), True, True),
    ],
)
async def test_errors(api: FakeApiServer, fault: Fault, is_outage: bool, is_transient: bool) -> None:  # noqa: FBT001 - parameters
    """Each error says whether the same call may succeed later; a delay that the server requests is respected."""
    api.faults = [fault]
    with pytest.raises(ApiError) as failed:
        await _client(api, timeout=1).get(PATH, PartialObject)
    assert (failed.value.is_outage, failed.value.is_transient) == (is_outage, is_transient)
    assert Backoff().delay(failed.value) >= float(fault.headers.get("Retry-After", 0))


async def test_an_answer_that_cannot_be_read_is_not_an_outage(api: FakeApiServer) -> None:
    """The author of an object can nest it too deeply; another attempt would get the same, and the server works."""
    client = _client(api)
    with pytest.raises(ApiError, match=r"200: .*Expected `int`") as failed:
        await client.get(PATH, int)
    assert (failed.value.is_outage, failed.value.is_transient) == (False, False)


async def test_a_server_that_is_unavailable(api: FakeApiServer) -> None:
    """This counts as an outage, and not as an error in the process."""
    await api.stop()
    with pytest.raises(ApiError) as failed:
        await _client(api).get(PATH, PartialObject)
    assert failed.value.is_outage


async def test_a_watch(api: FakeApiServer) -> None:
    """A watch yields each change, and fails with an error when the server stops."""
    events = []

    async def watch() -> None:
        async for event in _client(api).watch("/api/v1/nodes?watch=true&resourceVersion=1", WatchEvent, 60):
            events.append(event)
            api.annotate(cordon="stub-2")
            if len(events) == 2:
                await api.stop()

    api.annotate(cordon="stub-1")
    with pytest.raises(ApiError):
        async with asyncio.timeout(30):
            await watch()
    assert len(events) >= 2


async def test_the_rate_has_a_limit() -> None:
    """Whatever goes wrong, a node sends at most ten requests at once, and two a second after that."""
    limit = RateLimit(per_second=100, burst=10)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(30):
        await limit.wait()
    assert loop.time() - began >= 0.19


def test_delays_grow_up_to_a_limit() -> None:
    """With such delays, the nodes of a cluster do not keep the API server from recovering."""
    backoff = Backoff()
    delays = [backoff.delay(ApiError(503, "")) for _ in range(12)]
    assert 0.5 <= delays[0] <= 1
    assert all(30 <= delay <= 60 for delay in delays[-5:])
    assert backoff.delay(ApiError(429, "", 10_000)) <= 120


def test_a_process_outside_of_a_pod(tmp_path: Path) -> None:
    """The process has no address for the API server; the error names the missing variable."""
    with pytest.raises(ConfigError, match=HOST_VARIABLE):
        Account(tmp_path, {})
