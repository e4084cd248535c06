"""The thread that calls NVML."""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

from hub import Runtime, SupervisedThread
from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu
from plugins.gpu.nvml.calls import MISMATCH, Nvml, NvmlError
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.library import SONAME, preload
from plugins.gpu.nvml.listening import Xid
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.session import Session

SLICE = 500
"""Milliseconds that the thread waits for events before it checks for requests. An event ends the wait at once; a
request waits for the rest of it."""

FIRST_TIMEOUT = 5.0
"""Seconds that the first poll waits for the end of a reset; less than the driver's timeout."""

VERSION_FILE = "/proc/driver/nvidia/version"
"""Exists while the NVIDIA kernel module is loaded."""


class DriverFailure(Exception):
    """This process can no longer use the driver; the text says why."""


class DriverTimeout(DriverFailure):
    """The driver does not answer."""


class DriverMismatch(DriverFailure):
    """The library loaded in this process and the kernel module are of different versions."""


class _PollRequest:
    """A poll that a caller waits for."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.state = DriverState()
        self.failure: DriverFailure | None = None


class Driver:
    """Polls the driver in a separate thread.

    A process has one: NVML lets only one thread of a process wait for events, and the others wait for it (seen with
    driver 580.159 on an H200).

    Args:
        paths: Where the driver's files are.
        on_xid: Called with each XID, in the driver's thread.
        on_change: Called in the same thread when a poll would find something new.
        listen: Whether to listen for XIDs.
        lock: Shows when a reset wants the GPUs; during the reset, the last known state is the answer.
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
        self._state = DriverState()
        self._listen_error = ""
        self._nvml = Nvml()
        self._prober = Prober(self._nvml, paths)
        self._session: Session | None = None
        self._known: dict[str, Gpu] = {}
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
        self._thread.start()
        request = _PollRequest()
        self._requests.put(request)
        asked = time.monotonic()
        while not request.answered.wait(self._remaining(asked, timeout)):
            if self._remaining(asked, timeout) <= 0:
                call, since = self._nvml.current
                what = f"{call} has not returned after" if call else "no call has been made for"
                seconds = time.monotonic() - max(since, asked)
                raise DriverTimeout(f"the NVIDIA driver does not answer: {what} {seconds:.0f} s")
        if request.failure:
            raise request.failure
        return request.state

    def _remaining(self, asked: float, timeout: float) -> float:
        """Return the seconds until the poll fails: the limit is for a single call, not for all of them together.

        GPUs without persistence mode take seconds each until they answer for the first time.
        """
        return max(asked, self._nvml.current[1]) + timeout - time.monotonic()

    def _run(self) -> None:
        while True:
            try:
                request = self._requests.get(block=not (self._session and self._session.listens))
            except Empty:
                self._wait_for_xids()
            else:
                self._handle(request)

    def _wait_for_xids(self) -> None:
        if self._lock.wanted:
            self._end_session()
        else:
            self._handle_xids(SLICE)

    def _handle_xids(self, milliseconds: int = 0) -> None:
        if self._session is None or not self._session.listens:
            return
        failure = ""
        try:
            for xid in self._session.wait(milliseconds):
                self._on_xid(xid)
        except NvmlError as error:
            failure = str(error)
        if failure != self._listen_error:
            self._listen_error = failure
            say = self._log.warning if failure else self._log.info
            say("xid monitoring changed", active=not failure, reason=failure)
            self._on_change()

    def _handle(self, request: _PollRequest) -> None:
        try:
            request.state = self._poll()
        except NvmlError as error:
            if error.code == MISMATCH:
                what = "the driver was replaced, and this process still has the library of the old one"
                request.failure = DriverMismatch(f"{what} ({error})")
            else:
                request.state = DriverState(reason=self._no_driver(error))
        except DriverFailure as failure:
            request.failure = failure
        except Exception as error:  # noqa: BLE001 - the caller needs the error, and the thread must continue
            request.failure = DriverFailure(f"the driver cannot be polled: {type(error).__name__}: {error}")
            self._log.exception("driver poll failed")
        request.answered.set()

    def _poll(self) -> DriverState:
        """Poll in the current session, or in a new one if that has ended."""
        known = bool(self._state.driver)
        if known and self._lock.wanted:
            self._end_session()
            return self._state
        if self._session is not None:
            try:
                return self._poll_session(self._session)
            except NvmlError as error:
                if error.code == MISMATCH:
                    raise
                self._log.info("driver session ended", reason=str(error))
                self._end_session()
        else:
            preload(self._paths)
        if not self._lock.acquire(0 if known else FIRST_TIMEOUT):
            if not known:
                # Never report an empty list while the state is unknown: an older plugin may be serving these GPUs.
                raise DriverFailure(f"a reset has been using the GPUs for {FIRST_TIMEOUT:g} s")
            return self._state
        self._session = Session(self._nvml, self._paths, self._prober, xids=self._listen)
        return self._poll_session(self._session)

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        self._lock.release()

    def _poll_session(self, session: Session) -> DriverState:
        self._state = state = session.poll(self._known, self._handle_xids)
        session.remember(state)
        silent = {name for name, _ in state.unknown}
        silent_known = {uuid: gpu for uuid, gpu in self._known.items() if uuid in silent}
        self._known = silent_known | {gpu.uuid: gpu for gpu in state.gpus}
        return state

    def _no_driver(self, error: NvmlError) -> str:
        version = self._paths.host.path(VERSION_FILE)
        if not version.exists():
            return f"no NVIDIA driver is loaded on this node: {VERSION_FILE} does not exist ({error})"
        if "Library Not Found" in str(error):
            where = f"under {self._paths.driver_root}, in {', '.join(LIBRARY_DIRECTORIES)}"
            return f"an NVIDIA driver is loaded, but its library {SONAME} was not found {where} ({error})"
        return f"the NVIDIA driver cannot be used: {error}"
