"""Reads a claim from the API server: which devices of a driver it has."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from hub.apiserver.client import ApiClient
from hub.apiserver.errors import NOT_FOUND, ApiError
from hub.dra.pool import API
from hub.model.dra import ClaimAnswer, ClaimQuery, ClaimResult

Object = Mapping[str, Any]


async def read_claim(client: ApiClient, query: ClaimQuery) -> ClaimAnswer:
    """Return which devices of a driver a claim has, or why that is unknown."""
    namespace, name = quote(query.namespace, safe=""), quote(query.name, safe="")
    try:
        claim = await client.get(f"{API}/namespaces/{namespace}/resourceclaims/{name}", dict[str, Any])
    except ApiError as error:
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
