"""The thread that calls NVML."""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

from hub import Runtime
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu
from plugins.gpu.nvml.calls import MISMATCH, Nvml, NvmlError
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.library import DIRECTORIES, SONAME, preload
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.session import Session, Xid

SLICE = 500
"""Milliseconds that the thread waits for events before it looks whether anybody wants something else. An event ends the
wait at once; a question waits for the rest of it."""

FIRST_TIMEOUT = 5.0
"""Seconds that the first look waits for a reset to be over; less than a driver has to answer."""

VERSION_FILE = "/proc/driver/nvidia/version"
"""There as long as the NVIDIA kernel module is loaded."""


class DriverFailure(Exception):
    """The driver cannot be used in this process any more; the text says why."""


class DriverTimeout(DriverFailure):
    """It does not answer."""


class DriverMismatch(DriverFailure):
    """The library that this process has loaded is of another driver than the kernel."""


class _Call:
    """A look that somebody waits for."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.view = DriverState()
        self.failure: DriverFailure | None = None


class Driver:
    """What the driver knows, asked in a thread of its own.

    Args:
        places: Where the driver's files are.
        xid: Gets each XID, in the driver's thread.
        woken: Called there when a look would find something new.
        listen: Whether XIDs are to be heard.
        gate: Tells when a reset wants the GPUs; what was known last is the answer until it is done.
    """

    def __init__(
        self,
        places: DriverPaths,
        xid: Callable[[Xid], None],
        woken: Callable[[], None],
        *,
        listen: bool = True,
        gate: DriverLock | None = None,
    ) -> None:
        self._places = places
        self._xid = xid
        self._woken = woken
        self._listen = listen
        self._gate = gate or DriverLock(Runtime())
        self._view = DriverState()
        self._deaf = ""
        self._nvml = Nvml()
        self._prober = Prober(self._nvml, places)
        self._session: Session | None = None
        self._known: dict[str, Gpu] = {}
        self._questions: SimpleQueue[_Call] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger()

    def poll(self, timeout: float) -> DriverState:
        """What the driver knows now.

        Args:
            timeout: Seconds that a single call of NVML may take.

        Raises:
            DriverTimeout: one does not return.
            DriverMismatch: only a new process can ask this driver.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)
            self._thread.start()
        question = _Call()
        self._questions.put(question)
        asked = time.monotonic()
        while not question.answered.wait(self._patience(asked, timeout)):
            if self._patience(asked, timeout) <= 0:
                call, since = self._nvml.current
                what = f"{call} has not returned" if call else "nothing was asked of it"
                raise DriverTimeout(
                    f"the NVIDIA driver does not answer: {what} for {time.monotonic() - max(since, asked):.0f} s"
                )
        if question.failure:
            raise question.failure
        return question.view

    def _patience(self, asked: float, timeout: float) -> float:
        """Seconds until the driver is given up: no call may take longer, but many may take their time together.

        GPUs that nobody keeps initialized (persistence mode) take seconds each to be asked for the first time.
        """
        return max(asked, self._nvml.current[1]) + timeout - time.monotonic()

    def _run(self) -> None:
        while True:
            try:
                question = self._questions.get(block=not (self._session and self._session.listens))
            except Empty:
                self._wait_for_xids()
            else:
                self._answer(question)

    def _wait_for_xids(self) -> None:
        if self._gate.wanted:
            self._end_session()
        else:
            self._handle_xids(SLICE)

    def _handle_xids(self, milliseconds: int = 0) -> None:
        if self._session is None or not self._session.listens:
            return
        failure = ""
        try:
            for xid in self._session.wait(milliseconds):
                self._xid(xid)
        except NvmlError as error:
            failure = str(error)
        if failure != self._deaf:
            self._deaf = failure
            say = self._log.warning if failure else self._log.info
            say("xid monitoring changed", active=not failure, reason=failure)
            self._woken()

    def _answer(self, question: _Call) -> None:
        try:
            question.view = self._poll()
        except NvmlError as error:
            if error.code == MISMATCH:
                what = "the driver was exchanged, and this process has the old one's library"
                question.failure = DriverMismatch(f"{what} ({error})")
            else:
                question.view = DriverState(reason=self._no_driver(error))
        except DriverFailure as failure:
            question.failure = failure
        except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it, and the thread has to go on
            question.failure = DriverFailure(f"the driver cannot be asked: {type(error).__name__}: {error}")
            self._log.exception("driver poll failed")
        question.answered.set()

    def _poll(self) -> DriverState:
        """In the session that there is, or in a new one where that is over."""
        known = bool(self._view.driver)
        if known and self._gate.wanted:
            self._end_session()
            return self._view
        if self._session is not None:
            try:
                return self._poll_session(self._session)
            except NvmlError as error:
                if error.code == MISMATCH:
                    raise
                self._log.info("driver session ended", reason=str(error))
                self._end_session()
        else:
            preload(self._places)
        if not self._gate.acquire(0 if known else FIRST_TIMEOUT):
            if not known:
                # Never an empty list for want of knowledge: an older plugin may be serving these GPUs.
                raise DriverFailure(f"a reset has had the GPUs for {FIRST_TIMEOUT:g} s")
            return self._view
        self._session = Session(self._nvml, self._places, self._prober, xids=self._listen)
        return self._poll_session(self._session)

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        self._gate.release()

    def _poll_session(self, session: Session) -> DriverState:
        self._view = view = session.poll(self._known, self._handle_xids)
        session.remember(view)
        silent = {name for name, _ in view.unknown}
        silent_known = {uuid: gpu for uuid, gpu in self._known.items() if uuid in silent}
        self._known = silent_known | {gpu.uuid: gpu for gpu in view.gpus}
        return view

    def _no_driver(self, error: NvmlError) -> str:
        version = self._places.host.path(VERSION_FILE)
        if not version.exists():
            return f"no NVIDIA driver is loaded on this node: there is no {VERSION_FILE} ({error})"
        if "Library Not Found" in str(error):
            where = f"below {self._places.driver_root} in {', '.join(DIRECTORIES)}"
            return f"an NVIDIA driver is loaded, and its library {SONAME} is not found, {where} ({error})"
        return f"the NVIDIA driver cannot be used: {error}"
