"""The last known facts about each PCI function, kept until the function itself is removed.

While a pod uses a function, its network interface is in the pod's network namespace, and so is its RDMA device if the
RDMA subsystem is in exclusive mode. sysfs on the node shows neither. A selection by interface or partition key must
still select the function: otherwise the kubelet would see fewer devices than its pods have.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from hub import Host, Runtime, UnreadableError
from plugins.ib.discovery.facts import Hca
from plugins.ib.discovery.sysfs import function_exists, is_exclusive, read_hidden, virtual_functions


class LastSeen(msgspec.Struct, frozen=True):
    """The facts about a function that sysfs does not show while a pod uses it."""

    driver: str
    name: str = ""
    netdevs: tuple[str, ...] = ()
    link_types: tuple[str, ...] = ()
    pkeys: tuple[str, ...] = ()


class FunctionMemory:
    """The facts that sysfs showed before, to supplement those that it shows now.

    Args:
        host: The node's file system.
        runtime: Where to keep the facts across restarts of the plugin.
    """

    def __init__(self, host: Host, runtime: Runtime) -> None:
        self._host = host
        self._runtime = runtime
        self._path = runtime.node_path("functions.json") if runtime else None
        self._log = structlog.get_logger()
        self._known = self._kept = self._read()

    def complete(self, visible: Sequence[Hca]) -> list[Hca]:
        """Return these HCAs with the facts that are hidden now, and the HCAs that are themselves hidden."""
        hcas = [self._completed(hca) for hca in visible]
        if is_exclusive(self._host):
            hcas += self._hidden(hcas)
        self._remember(hcas)
        return sorted(hcas, key=lambda hca: hca.pci)

    def save(self) -> None:
        """Save the facts, to keep them across restarts of the plugin."""
        if not self._path or self._known == self._kept:
            return
        self._kept = self._known
        try:
            self._runtime.write(self._path, self._known)
        except OSError as error:
            self._log.error("file not written", file=str(self._path), reason=str(error))

    def _completed(self, hca: Hca) -> Hca:
        known = self._known.get(hca.pci)
        if hca.netdevs or known is None or not known.netdevs or known.driver != hca.driver:
            return hca
        # A CNI plugin may also have changed the partition keys.
        return replace(
            hca, netdevs=known.netdevs, link_types=known.link_types, pkeys=known.pkeys or hca.pkeys, in_pod=True
        )

    def _hidden(self, visible: Sequence[Hca]) -> Iterator[Hca]:
        """Return the HCAs whose function exists, bound to its driver, without an RDMA device in this namespace."""
        candidates = {pci: LastSeen(pf.driver) for pf in visible for pci in virtual_functions(self._host, pf.pci)}
        candidates.update(self._known)
        for hca in visible:
            candidates.pop(hca.pci, None)
        for pci, known in candidates.items():
            found = read_hidden(self._host, pci)
            if found and found.driver == known.driver != "":
                facts = {name: getattr(known, name) for name in known.__struct_fields__ if getattr(known, name)}
                yield replace(found, **facts)

    def _remember(self, hcas: Sequence[Hca]) -> None:
        known = {pci: seen for pci, seen in self._known.items() if function_exists(self._host, pci)}
        known.update({hca.pci: _last_seen(hca) for hca in hcas if hca.name and _is_text(hca.driver)})
        self._known = known

    def _read(self) -> Mapping[str, LastSeen]:
        try:
            return (self._runtime.read(self._path, dict[str, LastSeen]) or {}) if self._path else {}
        except UnreadableError as error:
            self._log.warning("functions file unreadable", reason=str(error))
            return {}


def _last_seen(hca: Hca) -> LastSeen:
    facts: dict[str, Any] = {name: getattr(hca, name) for name in LastSeen.__struct_fields__}
    for name, fact in facts.items():
        if isinstance(fact, tuple):
            facts[name] = tuple(filter(_is_text, fact))
    return LastSeen(**facts)


def _is_text(name: str) -> bool:
    """Return whether JSON can express a name, which may consist of any bytes."""
    return name.isprintable()
