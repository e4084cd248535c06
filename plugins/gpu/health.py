"""What XIDs, the driver's reports of errors, say about the health of GPUs."""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

import structlog

from plugins.gpu.discovery.facts import DriverState, Gpu
from plugins.gpu.nvml.session import Xid
from plugins.gpu.resources import Share
from plugins.gpu.settings.xids import XidMeaning, XidPolicy, describe

KNOWN_CODES = 1000
"""XIDs are numbered below; the driver could report any number."""


class XidFaults:
    """The XIDs that still count, for whole GPUs and for MIG devices.

    Heard in the driver's thread and asked about in that of a scan. A fault that recovers is told at least once, and
    until a probe after that finds nothing wrong with the GPU; the quiet time that follows is the hub's. A fatal one is
    told once for each device that it concerns, and kept by the hub.

    Args:
        policy: What each XID means.
    """

    def __init__(self, policy: XidPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._recovering: defaultdict[str, dict[int, bool]] = defaultdict(dict)
        """By UUID, the codes and whether each was told."""
        self._fatal: defaultdict[str, dict[int, set[str]]] = defaultdict(dict)
        """By UUID, the codes and the devices for which each was told."""
        self._counts: Counter[str] = Counter()
        self._log = structlog.get_logger()

    def report(self, xid: Xid) -> bool:
        """Take in an XID; whether it says anything about health."""
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
        """How often each XID was heard; those that no driver knows are one."""
        with self._lock:
            return dict(self._counts)

    def settle(self, state: DriverState) -> None:
        """Forget the XIDs of GPUs and MIG devices with which a new look found nothing wrong."""
        with self._lock:
            for uuid in _sound(state.gpus):
                told = self._recovering.pop(uuid, {})
                if untold := {code: False for code, was_told in told.items() if not was_told}:
                    self._recovering[uuid] = untold

    def transient(self, share: Share) -> str:
        """Why a share cannot be used until a probe finds that all is well; empty when it can."""
        with self._lock:
            codes: dict[int, bool] = {}
            for uuid in _concerned(share):
                if found := self._recovering.get(uuid):
                    codes |= found
                    found.update(dict.fromkeys(found, True))
        return _words(codes)

    def fatal(self, share: Share) -> str:
        """Why a share cannot be used until somebody mends it; empty when it can, and when that was told before."""
        with self._lock:
            news = []
            for uuid in _concerned(share):
                for code, told in self._fatal.get(uuid, {}).items():
                    if share.uuid not in told:
                        told.add(share.uuid)
                        news.append(code)
        return _words(news)


def _concerned(share: Share) -> Iterable[str]:
    """What is reported of a GPU concerns all of it, what is reported of a MIG device only that."""
    return dict.fromkeys((share.gpu.uuid, share.uuid))


def _sound(gpus: Iterable[Gpu]) -> Iterable[str]:
    for gpu in gpus:
        if not gpu.fault:
            yield gpu.uuid
            yield from (mig.uuid for mig in gpu.migs if not mig.fault)


def _words(codes: Collection[int]) -> str:
    return "; ".join(f"XID {code}: {describe(code)}" for code in codes)


def _instance(xid: Xid) -> dict[str, str]:
    return {"mig": xid.mig} if xid.mig else {}
