"""The health of GPUs: the effects of XIDs (the driver's error reports) and of what probes find."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator

import structlog

from plugins.gpu.discovery.facts import DriverState, FindingKind, Gpu, Xid
from plugins.gpu.resources import Share
from plugins.gpu.settings.file import Effect, FindingTable
from plugins.gpu.settings.xids import XidMeaning, XidPolicy, describe

KNOWN_CODES = 1000
"""Real XIDs are below this; the driver could report any number."""


class XidFaults:
    """The XIDs that are still in effect, for whole GPUs and for MIG devices.

    They are recorded in the driver's thread and read in a scan's thread. A recoverable fault is reported at least
    once, and until a later probe finds no fault in the GPU; then the hub's recovery time begins. A fatal fault is
    reported once for each affected device, and the hub keeps it.

    Args:
        policy: The meaning of each XID.
    """

    def __init__(self, policy: XidPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._recovering: defaultdict[str, dict[int, bool]] = defaultdict(dict)
        """The codes and whether each was reported, by UUID."""
        self._fatal: defaultdict[str, dict[int, set[str]]] = defaultdict(dict)
        """The codes and the devices for which each was reported, by UUID."""
        self._counts: Counter[str] = Counter()
        self._log = structlog.get_logger()

    def report(self, xid: Xid) -> bool:
        """Record an XID and return whether it affects health."""
        meaning = self._policy.meaning(xid.code)
        say = self._log.info if meaning is XidMeaning.IGNORE else self._log.warning
        say("xid received", gpu=xid.gpu, code=xid.code, text=describe(xid.code), meaning=str(meaning), **_instance(xid))
        uuid = xid.mig or xid.gpu
        with self._lock:
            self._counts[str(xid.code) if xid.code < KNOWN_CODES else "other"] += 1
            if meaning is XidMeaning.RECOVER:
                self._recovering[uuid][xid.code] = False
            elif meaning is XidMeaning.FATAL:
                self._fatal[uuid][xid.code] = set()
        return meaning is not XidMeaning.IGNORE

    def counts(self) -> dict[str, int]:
        """Count the occurrences of each XID; those above all known numbers count as "other"."""
        with self._lock:
            return dict(self._counts)

    def settle(self, state: DriverState) -> None:
        """Forget the reported XIDs of GPUs and MIG devices in which a new poll found no fault."""
        with self._lock:
            for uuid in _without_fault(state.gpus):
                codes = self._recovering.pop(uuid, {})
                if unreported := {code: False for code, reported in codes.items() if not reported}:
                    self._recovering[uuid] = unreported

    def transient(self, share: Share) -> str:
        """Return why a share cannot be used until a probe finds no fault; empty if it can."""
        with self._lock:
            codes: dict[int, bool] = {}
            for uuid in _affected_by(share):
                if found := self._recovering.get(uuid):
                    codes |= found
                    found.update(dict.fromkeys(found, True))
        return _words(codes)

    def fatal(self, share: Share) -> str:
        """Return why a share cannot be used until it is repaired; empty if it can, or if that was reported before."""
        with self._lock:
            new = []
            for uuid in _affected_by(share):
                for code, reported in self._fatal.get(uuid, {}).items():
                    if share.uuid not in reported:
                        reported.add(share.uuid)
                        new.append(code)
        return _words(new)


class Findings:
    """How long each finding about a GPU has lasted, and its effect.

    Args:
        table: The effects of findings.
    """

    def __init__(self, table: FindingTable) -> None:
        self._table = table
        self._since: dict[tuple[str, FindingKind], float] = {}

    def update(self, state: DriverState) -> None:
        """Record the findings of a new poll."""
        now = time.monotonic()
        found = [(gpu.uuid, finding.kind) for gpu in state.gpus for finding in gpu.findings]
        self._since = {key: self._since.get(key, now) for key in found}

    def fault(self, gpu: Gpu) -> str:
        """Return why a GPU cannot be used; empty if it can."""
        return "; ".join(text for text, effect in self._effects(gpu) if effect is Effect.UNHEALTHY)

    def warning(self, gpu: Gpu) -> str:
        """Return what is wrong with a GPU that can be used; empty if nothing is."""
        return "; ".join(text for text, effect in self._effects(gpu) if effect is Effect.WARN)

    def _effects(self, gpu: Gpu) -> Iterator[tuple[str, Effect]]:
        now = time.monotonic()
        for finding in gpu.findings:
            effect = self._table.effect(finding.kind)
            lasted = now - self._since.get((gpu.uuid, finding.kind), now)
            if effect is Effect.UNHEALTHY and lasted < self._table.unhealthy_after:
                effect = Effect.WARN
            yield finding.text, effect


def _affected_by(share: Share) -> Iterable[str]:
    """Return the UUIDs whose XIDs affect a share: its GPU's, since they affect the whole GPU, and its MIG device's."""
    return dict.fromkeys((share.gpu.uuid, share.uuid))


def _without_fault(gpus: Iterable[Gpu]) -> Iterable[str]:
    for gpu in gpus:
        if not gpu.fault:
            yield gpu.uuid
            yield from (mig.uuid for mig in gpu.migs if not mig.fault)


def _words(codes: Collection[int]) -> str:
    return "; ".join(f"XID {code}: {describe(code)}" for code in codes)


def _instance(xid: Xid) -> dict[str, str]:
    return {"mig": xid.mig} if xid.mig else {}
