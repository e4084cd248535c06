"""Devices that have disappeared, but that the kubelet may still be allocating.

A kubelet chooses devices, calls Allocate, and looks the devices up in the latest list when it has the response. It does
not expect any to be missing: kubelets 1.34 to 1.37 crash if one is (`allocateContainerResources` in
pkg/kubelet/cm/devicemanager). So such a device is first advertised as unhealthy, and leaves the list only when the
kubelet can no longer be waiting for a response about it:

- Allocate rejects it from the moment it disappears, and a kubelet looks up nothing after an error. So only calls that
  were in progress at that moment matter; GetPreferredAllocation does not, since Allocate follows it.
- The kubelet gets responses and lists on different streams, in any order. So the new list follows the last of these
  responses after a pause. Within that pause the kubelet writes its checkpoint, from which `ResourceDevices` learns
  which devices containers hold: those stay in the list.

A process that has just started lists what it finds and what containers hold, though the kubelet may be allocating a
device that only the previous process listed. That process has exited, so calls to it have failed, and the new one
rejects such devices. In a handover between hubs, the older process may still answer a call: a device that disappears at
that moment is not covered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from hub.api.device import Device

GRACE = 1.0
"""Seconds allowed for a kubelet to process a response."""


class Departure:
    """Devices that have disappeared at the same moment.

    Args:
        devices: The devices, by id.
        allocations: The calls in progress at that moment; each is done when it has been answered.
    """

    def __init__(self, devices: Mapping[str, Device], allocations: frozenset[asyncio.Future[None]]) -> None:
        self.devices = devices
        self.allocations = allocations


class Departures:
    """Keeps track of the devices of one resource that have disappeared.

    Args:
        sleep: Waits for a number of seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._departures: dict[str, Departure] = {}
        """Keyed by the id of each device that is still advertised."""
        self._allocations: set[asyncio.Future[None]] = set()

    @property
    def devices(self) -> Mapping[str, Device]:
        """The former devices that are still advertised, by id."""
        return {name: departure.devices[name] for name, departure in self._departures.items()}

    @contextmanager
    def allocation(self) -> Iterator[None]:
        """Keep track of a call to Allocate."""
        answered = asyncio.get_running_loop().create_future()
        self._allocations.add(answered)
        try:
            yield
        finally:
            self._allocations.discard(answered)
            answered.set_result(None)

    def update(self, before: Mapping[str, Device], after: Mapping[str, Device]) -> Departure:
        """Compare two consecutive sets of devices; return those that have disappeared.

        A device that has come back does not count as disappeared.
        """
        departure = Departure(
            {name: device for name, device in before.items() if name not in after}, frozenset(self._allocations)
        )
        self._departures = {name: each for name, each in self._departures.items() if name not in after}
        self._departures |= dict.fromkeys(departure.devices, departure)
        return departure

    async def finish(self, departure: Departure) -> None:
        """Stop advertising the devices as soon as the kubelet can no longer be allocating them."""
        if departure.allocations:
            await asyncio.wait(departure.allocations)
        await self._sleep(GRACE)
        self._departures = {name: each for name, each in self._departures.items() if each is not departure}
