"""Reads a claim from the API server: which devices of a driver it has."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from hub.apiserver.client import ApiClient
from hub.apiserver.errors import NOT_FOUND, ApiError
from hub.dra.pool import API
from hub.model.dra import ClaimAnswer, ClaimQuery, ClaimResult

READ_SECONDS = 4.0
"""Seconds for all attempts to read a claim; the plugin process waits for five."""

RETRY_SECONDS = 0.5
"""Seconds between two attempts."""

Object = Mapping[str, Any]


async def read_claim(client: ApiClient, query: ClaimQuery) -> ClaimAnswer:
    """Return which devices of a driver a claim has, or why that is unknown.

    During an outage, there are several attempts: the kubelet itself would wait for a minute or more before the next.
    """
    namespace, name = quote(query.namespace, safe=""), quote(query.name, safe="")
    loop = asyncio.get_running_loop()
    end = loop.time() + READ_SECONDS
    while True:
        try:
            claim = await client.get(f"{API}/namespaces/{namespace}/resourceclaims/{name}", dict[str, Any])
            break
        except ApiError as error:
            if error.is_outage and loop.time() + RETRY_SECONDS < end:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            gone = error.status == NOT_FOUND
            return ClaimAnswer(problem=f"the claim cannot be read from the API server: {error}", gone=gone)
    try:
        return claim_answer(claim, query)
    except (AttributeError, KeyError, TypeError) as error:
        return ClaimAnswer(problem=f"the API server's response is not a claim: {error!r}")


def claim_answer(claim: Object, query: ClaimQuery) -> ClaimAnswer:
    """Return which devices of a driver a claim has.

    Raises:
        AttributeError, KeyError, TypeError: it is not a claim.
    """
    if claim["metadata"]["uid"] != query.uid:
        return ClaimAnswer(problem="the claim was deleted, and another one has its name", gone=True)
    status = claim.get("status") or {}
    if not (allocation := status.get("allocation")):
        return ClaimAnswer(problem="the claim is not allocated")
    pods = [each["name"] for each in status.get("reservedFor") or () if each.get("resource") == "pods"]
    if not pods:
        # A late retry of a call for a pod that has terminated finds the claim in this state.
        return ClaimAnswer(problem="the claim is not reserved for a pod")
    return ClaimAnswer(tuple(_results(allocation, query.driver)), pods[0])


def _results(allocation: Object, driver: str) -> Iterator[ClaimResult]:
    for each in (allocation.get("devices") or {}).get("results") or ():
        if each["driver"] == driver:
            yield ClaimResult(
                each["request"],
                each["pool"],
                each["device"],
                each.get("shareID") or "",
                bool(each.get("adminAccess")),
                tuple(toleration.get("key") or "*" for toleration in each.get("tolerations") or ()),
            )
