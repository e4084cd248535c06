"""Responses from plugins: valid ones and odd ones."""

from hub.kubelet.wire import v1beta1_pb2 as wire


def _answer(ids: list[str]) -> wire.PreferredAllocationResponse:
    container = wire.ContainerPreferredAllocationResponse(deviceIDs=ids)
    return wire.PreferredAllocationResponse(container_responses=[container])


async def first(request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
    """Prefer the required devices, and then the first ones by name."""
    (entry,) = request.container_requests
    ids = dict.fromkeys([*sorted(entry.must_include_deviceIDs), *sorted(entry.available_deviceIDs)])
    return _answer(list(ids)[: entry.allocation_size])


async def _nothing(_: object, __: object) -> wire.PreferredAllocationResponse:
    return wire.PreferredAllocationResponse()


async def _empty(_: object, __: object) -> wire.AllocateResponse:
    return wire.AllocateResponse()


async def _less(request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
    return _answer([max(request.container_requests[0].available_deviceIDs)])


async def _more(request: wire.PreferredAllocationRequest, _: object) -> wire.PreferredAllocationResponse:
    return _answer(sorted(request.container_requests[0].available_deviceIDs, reverse=True))


async def _nonsense(_: object, __: object) -> wire.PreferredAllocationResponse:
    return _answer(["unknown"])


ODD = {"empty": _empty, "nothing": _nothing, "nonsense": _nonsense, "too few": _less, "too many": _more}
"""The odd responses by name, for a step of a script."""
