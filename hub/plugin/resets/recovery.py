"""When broken devices are probed: only while nobody holds them, few at a time, and ever less often."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from hub.api.device import Device
from hub.api.health import ProbePolicy
from hub.base.log import get_logger
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.kubelet.podresources import DeviceHolders, list_holders, pod_resources_socket
from hub.plugin.health.keys import physical_key

PARALLEL = 2
"""Probes at one time; containers do not wait for them."""

Offer = Callable[[], Iterable[tuple[str, Device]]]
"""All advertised devices, each with its resource."""


class Holder(NamedTuple):
    """A container that has a device, or may have it."""

    container: str
    removed: str = ""
    """What it holds that is not offered any more, where that may be a share of the device; empty where it has it."""

    def describe(self, certain: str) -> str:
        """In words, of which the last ones are for who has it for certain."""
        if self.removed:
            return f"{self.container} may have it: it holds {self.removed}, which is not offered any more"
        return f"{self.container} {certain}"


class Recovery:
    """Decides when which broken device is tried again.

    Args:
        probing: How often.
        offer: Tells all devices of the plugin.
        plugin_dir: The kubelet's plugin directory.
        broken: Tells the devices to probe, by their physical keys.
        probe: Tries one.
    """

    def __init__(
        self,
        probing: ProbePolicy,
        offer: Offer,
        plugin_dir: Path,
        broken: Callable[[], Iterable[str]],
        probe: Callable[[str], Awaitable[None]],
    ) -> None:
        self._probing = probing
        self._offer = offer
        self._kubelet_socket = plugin_dir / KUBELET_SOCKET
        self._pod_resources = pod_resources_socket(plugin_dir)
        self._broken = broken
        self._probe = probe
        self._kubelet: KubeletIdentity | None = None
        self._settled = 0.0
        self._known: dict[tuple[str, str], str] = {}
        self._next: dict[str, float] = {}
        self._failed: Counter[str] = Counter()
        self._places = asyncio.Semaphore(PARALLEL)
        self._blind = False
        self._log = get_logger()

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            self._look()
            await asyncio.sleep(self._probing.interval)
            self._look()
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - one bad round must not be the last
                self._log.exception("probes failed")

    def recovered(self, key: str) -> None:
        """A device works again: should it break, it is probed as if for the first time."""
        self._next.pop(key, None)
        del self._failed[key]

    def _look(self) -> None:
        """Notice a new kubelet, and devices that came; those that go may still be held."""
        kubelet = kubelet_identity(self._kubelet_socket)
        if kubelet != self._kubelet:
            self._kubelet, self._settled = kubelet, time.monotonic() + self._probing.startup_delay
        self._known |= {(resource, device.id): physical_key(resource, device) for resource, device in self._offer()}

    async def _round(self) -> None:
        now = time.monotonic()
        due = [key for key in self._broken() if self._next.get(key, 0) <= now]
        if due and self._kubelet and now >= self._settled:
            await asyncio.gather(*map(self._probe_if_free, due))

    async def _probe_if_free(self, key: str) -> None:
        async with self._places:
            # Asked each time: the answer is worth nothing a moment later.
            holders = await list_holders(self._pod_resources)
            self._say_blind(blind=holders is None)
            if holders is None or self.holders_of(key, holders):
                return
            self._failed[key] += 1
            # More doublings than these are never needed, and a float has room for so many only.
            delay = min(self._probing.interval * 2 ** min(self._failed[key], 16), self._probing.max_interval)
            try:
                await self._probe(key)
            except Exception:  # noqa: BLE001 - the other probes go on
                self._log.exception("probe failed", device=key)
            if key in self._failed:
                self._next[key] = time.monotonic() + delay

    def holders_of(self, key: str, holders: DeviceHolders) -> list[Holder]:
        """Who has the device or a share of it, or may have one that is not advertised any more."""
        offered = {(resource, device.id): physical_key(resource, device) for resource, device in self._offer()}
        self._known = {device: known for device, known in self._known.items() if device in holders} | offered
        ours = {resource for resource, _ in self._known}
        having = [Holder(who) for device, who in holders.items() if self._known.get(device) == key]
        if not having and key not in {" ".join(device) for device in offered}:
            # Of what is held and was never seen here, nobody can tell of which physical device it is a share.
            unknown = [device for device in holders if device[0] in ours and device not in self._known]
            having = [Holder(holders[device], device[1]) for device in unknown]
        return list(dict.fromkeys(having))

    def _say_blind(self, *, blind: bool) -> None:
        if blind and not self._blind:
            self._log.warning(
                "broken devices are not probed: no answer on who holds them", socket=str(self._pod_resources)
            )
        self._blind = blind
