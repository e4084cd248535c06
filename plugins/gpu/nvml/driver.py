"""The thread that calls NVML."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

import structlog

from hub import Runtime, SupervisedThread
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Xid
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.failures import DriverFailure, DriverTimeout
from plugins.gpu.nvml.library import NOT_FOUND, load_library, no_driver

if TYPE_CHECKING:
    from plugins.gpu.nvml.polling import DriverPoller


class _PollRequest:
    """A poll that a caller is waiting for."""

    def __init__(self) -> None:
        self.answered = Event()
        self.state = DriverState()
        self.failure: DriverFailure | None = None


class Driver:
    """A thread that polls the driver, started by the first poll that finds the driver's library.

    A process has only one: NVML lets only one thread of a process wait for events, and blocks all others meanwhile
    (seen with driver 580.159 on an H200).

    Args:
        paths: Where the driver's files are.
        on_xid: Called with each XID, in the driver's thread.
        on_change: Called in the same thread when a poll would find something new.
        listen: Whether to listen for XIDs.
        lock: Shows when a reset needs the GPUs; during the reset, a poll returns the last known state.
    """

    def __init__(
        self,
        paths: DriverPaths,
        on_xid: Callable[[Xid], None],
        on_change: Callable[[], None],
        *,
        listen: bool = True,
        lock: DriverLock | None = None,
    ) -> None:
        self._paths = paths
        self._on_xid = on_xid
        self._on_change = on_change
        self._listen = listen
        self._lock = lock or DriverLock(Runtime())
        self._poller: DriverPoller | None = None
        self._requests: SimpleQueue[_PollRequest] = SimpleQueue()
        self._thread = SupervisedThread("nvml", self._run)
        self._log = structlog.get_logger()

    def poll(self, timeout: float) -> DriverState:
        """Poll the driver and return its state.

        Args:
            timeout: Seconds that a single NVML call may take.

        Raises:
            DriverTimeout: a call does not return.
            DriverMismatch: only a new process can use this driver.
        """
        if self._poller is None:
            if not load_library(self._paths):
                return DriverState(reason=no_driver(self._paths, NOT_FOUND))
            self._poller = self._make_poller()
        poller = self._poller
        self._thread.start()
        request = _PollRequest()
        self._requests.put(request)
        asked = time.monotonic()
        while not request.answered.wait(_remaining(poller, asked, timeout)):
            if _remaining(poller, asked, timeout) <= 0:
                call, since = poller.current
                what = f"{call} has not returned after" if call else "no call has been made for"
                seconds = time.monotonic() - max(since, asked)
                raise DriverTimeout(f"the NVIDIA driver does not answer: {what} {seconds:.0f} s")
        if request.failure:
            raise request.failure
        return request.state

    def _make_poller(self) -> "DriverPoller":
        # This import loads NVIDIA's bindings, 2.5 MB, which a node without a driver does not need.
        from plugins.gpu.nvml.polling import DriverPoller  # noqa: PLC0415 - see above

        return DriverPoller(self._paths, self._on_xid, self._on_change, listen=self._listen, lock=self._lock)

    def _run(self) -> None:
        while self._poller is not None:
            try:
                request = self._requests.get(block=not self._poller.listens)
            except Empty:
                self._poller.wait_for_xids()
            else:
                self._handle(request, self._poller)

    def _handle(self, request: _PollRequest, poller: "DriverPoller") -> None:
        try:
            request.state = poller.poll()
        except DriverFailure as failure:
            request.failure = failure
        except Exception as error:  # noqa: BLE001 - the caller needs the error, and the thread must continue
            request.failure = DriverFailure(f"the driver cannot be polled: {type(error).__name__}: {error}")
            self._log.exception("driver poll failed")
        request.answered.set()


def _remaining(poller: "DriverPoller", asked: float, timeout: float) -> float:
    """Return the seconds until the poll fails: the limit is for each call, not for all calls in total.

    GPUs without persistence mode each take seconds to answer for the first time.
    """
    return max(asked, poller.current[1]) + timeout - time.monotonic()
