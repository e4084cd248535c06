"""The plugin: RDMA devices from sysfs, in the pools of the settings."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hub import (
    Allocation,
    Device,
    Excluded,
    Metric,
    NoDevices,
    Plugin,
    RecoveryPolicy,
    pci_functions,
    read_allocation_hint,
    read_number,
    sorted_entries,
)
from plugins.ib.allocation import allocation, device_nodes
from plugins.ib.cdi import CdiNames
from plugins.ib.deviceinfo import DeviceInfoFiles
from plugins.ib.discovery.facts import Hca
from plugins.ib.discovery.interfaces import Interfaces
from plugins.ib.discovery.memory import FunctionMemory
from plugins.ib.discovery.routes import default_route_interfaces
from plugins.ib.discovery.sysfs import RDMA_DEVICES, is_exclusive, read_hcas, read_states, with_device_files
from plugins.ib.health import PortWatch
from plugins.ib.labels import node_labels
from plugins.ib.metrics import port_metrics
from plugins.ib.preference import prefer
from plugins.ib.reset.binder import DriverBinder
from plugins.ib.reset.settings import VfResetSettings
from plugins.ib.reset.unbound import unbound_directory
from plugins.ib.resources import PoolMembers, assign_pools
from plugins.ib.settings import IBSettings, Mode, Pool

POLL_INTERVAL = 1.0
"""Seconds between reads of the port states; sysfs gives no notification when they change."""

NEVER = 1e9

MELLANOX, NETWORK = "15b3", "02"
"""NVIDIA's PCI vendor id for network adapters, and the PCI class of network adapters."""

EXCLUSIVE = Excluded(
    "RDMA subsystem",
    "in exclusive namespace mode: a device in a pod's network namespace stays listed, but its ports are not watched",
)
"""Explains to administrators why a device may show no ports."""


class IB(Plugin):
    """InfiniBand and RoCE devices, shared or exclusive."""

    settings: IBSettings
    # How long a port must be up again is a setting of the pool.
    recovery = RecoveryPolicy(max_recoveries=10)

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self.scan_interval = self.settings.periodic_update_interval or NEVER
        self._pools = self.settings.pools
        self._unserved = self.settings.sriov.unserved
        self.reset_resources = [pool.resource for pool in self._pools if pool.reset]
        if self.reset_resources:
            self.reset = "plugins.ib.reset:reset"
        self._binder = DriverBinder(self.host, unbound_directory(self.runtime))
        self._memory = FunctionMemory(self.host, self.runtime)
        self._interfaces = Interfaces()
        self._ports = PortWatch()
        self._cdi = CdiNames(self.host, self.settings.cdi)
        self._assigned = PoolMembers()
        self._hcas: Sequence[Hca] = ()
        self._hints: dict[str, float] = {}
        self._members: Mapping[tuple[str, str], tuple[Pool, Sequence[Hca]]] = {}
        self._info_files = DeviceInfoFiles(self.host, self.runtime)
        self._log = structlog.get_logger()
        for resource, keys in self.settings.sriov.ignored.items():
            self._log.warning("unknown keys ignored", resource=resource, keys=keys)

    def resources(self) -> Iterator[str]:
        """Return the configured resources."""
        return (pool.resource for pool in self._pools)

    def devices(self) -> Iterator[Device | Excluded]:
        """Return the devices in sysfs, by the pools that select them."""
        yield from (Excluded(resource, reason) for resource, reason in self._unserved.items())
        if not self.host.path(RDMA_DEVICES).exists():
            self._hcas = ()
            raise NoDevices(f"the kernel's RDMA support is not loaded: {RDMA_DEVICES} does not exist")
        found = read_hcas(self.host)
        self._hcas = hcas = self._memory.complete(found.hcas)
        self._ports.update(read_states(self.host))
        self._assigned = assign_pools(self._pools, hcas, default_route_interfaces(self.host))
        members = {}
        for pool, chosen in self._assigned.members:
            for device, of in self._devices_of(pool, chosen):
                members[pool.resource, device.id] = pool, of
                yield device
        self._members = members
        for name, reason in (*self._assigned.excluded, *found.unreadable.items()):
            yield Excluded(name, reason)
        for pci, problem in self._binder.problems().items():
            yield Excluded(pci, f"an interrupted reset left it without its driver: {problem}")
        if is_exclusive(self.host):
            yield EXCLUSIVE

    def prepare(self, devices: Sequence[Device]) -> Sequence[Device]:
        """Write the CDI files, bring interfaces up, and save what the scan has found."""
        self._memory.save()
        self._info_files.prune([pool for pool in self._pools if pool.mode.exclusive])
        for pool, chosen in self._assigned.members:
            if pool.bring_up:
                self._interfaces.bring_up(netdev for hca in chosen if not hca.in_pod for netdev in hca.netdevs)
        problem = self._cdi.update(
            [
                (pool, {hca.pci: device_nodes(self.host, pool, hca) for hca in chosen})
                for pool, chosen in self._assigned.members
            ]
        )
        return [device.with_fault(problem) for device in devices]

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - they are about all devices
        """Return the link types and rates of the ports."""
        return node_labels(self._hcas)

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch the devices, the states of their ports, and interrupted resets."""
        rules = {pool.health for pool in self._pools}
        last: object = None
        pause = threading.Event()
        while True:
            states = read_states(self.host)
            self._ports.update(states)
            now = states, self._ports.ports_down(rules), self._binder.refresh()
            if last not in (None, now):
                changed()
            last = now
            pause.wait(POLL_INTERVAL)

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """Return the device files of the HCAs, and the variables that name them."""
        found = [self._members.get((device.resource, device.id)) for device in devices]
        if not found or any(each is None for each in found):
            raise ValueError("a device was just removed")
        pools, hcas = zip(*(each for each in found if each), strict=True)
        distinct = {hca.pci: with_device_files(hca) for group in hcas for hca in group}
        files = {hca.pci: device_nodes(self.host, pools[0], hca) for hca in distinct.values()}
        answer = allocation(pools[0], list(distinct.values()), files)
        if pools[0].mode.exclusive:
            self._info_files.write(pools[0], distinct.values())
        if not self._cdi.used:
            return answer
        return msgspec.structs.replace(answer, nodes=(), **self._cdi.edits(pools[0], list(distinct)))

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose HCAs that are close to each other, and those that are used least."""
        resources = {device.resource for device in available}
        totals = Counter(of[0].pci for (resource, _), (_, of) in self._members.items() if resource in resources and of)
        chosen = prefer(totals, available, required, size, self._gpus(available), self._closeness)
        if not chosen:
            self._log.warning("preference not found", available=len(available), required=len(required), size=size)
        return chosen

    def metrics(self) -> list[Metric]:
        """Return the metrics of the ports at the last scan: every change leads to a scan."""
        return port_metrics(self.host, self._hcas)

    def hardware(self) -> Iterator[str]:
        """Return NVIDIA's network adapters, and other devices with RDMA support."""
        adapters = {each.address: each for each in pci_functions(self.host, vendor=MELLANOX, class_code=NETWORK)}
        devices = sorted_entries(self.host.path(RDMA_DEVICES))
        others = [path.name for path in devices if Path(os.path.realpath(path / "device")).name not in adapters]
        yield from (f"NVIDIA adapter {each}" for each in adapters.values())
        yield from (f"RDMA device {name}" for name in others)

    def reset_settings(self) -> VfResetSettings:
        """Return the settings of a reset."""
        return VfResetSettings()

    def _gpus(self, available: Sequence[Device]) -> Sequence[str]:
        """Return the GPUs that the container most likely just got; each resource uses a hint once."""
        found = self._members.get((available[0].resource, available[0].id)) if available else None
        hint = read_allocation_hint(self.runtime, "gpu") if found and found[0].near_gpus else None
        if hint is None or self._hints.get(available[0].resource) == hint.time:
            return ()
        self._hints[available[0].resource] = hint.time
        return hint.pci

    def _closeness(self, gpu: str, hca: str) -> int:
        """Count the PCI bridges that two devices share, by their sysfs paths; a common NUMA node breaks ties."""
        one, other = (Path(os.path.realpath(self.host.path(f"/sys/bus/pci/devices/{pci}"))) for pci in (gpu, hca))
        shared = 0
        for left, right in zip(one.parts, other.parts, strict=False):
            if left != right:
                break
            shared += 1
        return 2 * shared + (read_number(one / "numa_node") == read_number(other / "numa_node"))

    def _devices_of(self, pool: Pool, hcas: Sequence[Hca]) -> Iterator[tuple[Device, Sequence[Hca]]]:
        faults = {hca.pci: self._ports.fault(hca, pool.port_rule, pool.health) for hca in hcas}
        if pool.mode is not Mode.POOL:
            for hca in hcas:
                for number in range(pool.rdma_hca_max):
                    name = f"{hca.pci}::{number}" if pool.rdma_hca_max > 1 else hca.pci
                    yield self._device(pool, name, [hca], faults[hca.pci], hca.pci), [hca]
        elif hcas:
            # A container gets all HCAs, and can work as long as one of them does.
            fault = "" if not all(faults.values()) else "; ".join(faults.values())
            for number in range(pool.rdma_hca_max):
                yield self._device(pool, str(number), hcas, fault, ""), hcas

    def _device(self, pool: Pool, name: str, hcas: Sequence[Hca], fault: str, physical: str) -> Device:
        numa = {hca.numa for hca in hcas if hca.numa is not None and pool.has_topology}
        return Device(
            name,
            pool.resource,
            nodes=[node for hca in hcas for node in device_nodes(self.host, pool, hca)],
            unhealthy=fault,
            # HCAs on several nodes are close to all of them, which does not help narrow down the choice.
            numa=sorted(numa) if len(numa) == 1 else (),
            physical=physical,
            pci=[hca.pci for hca in hcas],
            attributes=_attributes(hcas),
        )


def _attributes(hcas: Sequence[Hca]) -> dict[str, str]:
    """Describe an HCA for administrators; if there are several, give only their names."""
    if len(hcas) != 1:
        return {"devices": ", ".join(hca.name for hca in hcas)}
    (hca,) = hcas
    ports = (f"{port.number}: {port.link_layer} {port.rate:g} Gb/s {port.state}" for port in hca.ports)
    known = {
        "name": hca.name,
        "ports": "; ".join(ports),
        "interfaces": ", ".join(hca.netdevs),
        "firmware": hca.firmware,
        "board": hca.board,
        "GUID": hca.node_guid,
        "virtual function of": hca.pf,
        "network namespace": "a pod's" if hca.in_pod or hca.hidden else "",
    }
    return {name: _printable(value) for name, value in known.items() if value}


def _printable(name: str) -> str:
    """Return a name as text; that of an interface need not be UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
