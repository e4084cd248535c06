"""Polling of the driver: consecutive sessions with it, and what is known from the last one."""

from collections.abc import Callable

import structlog

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu, Xid
from plugins.gpu.nvml.calls import MISMATCH, Nvml, NvmlError
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.failures import DriverFailure, DriverMismatch
from plugins.gpu.nvml.library import load_library, no_driver
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.session import Session

SLICE = 500
"""Milliseconds that the thread waits for events before it checks for requests. An event ends the wait at once; a
request has to wait for its end."""

FIRST_TIMEOUT = 5.0
"""Seconds that the first poll waits for the end of a reset; less than the driver's timeout."""


class DriverPoller:
    """A poller for use in the driver's thread.

    Args:
        paths: Where the driver's files are.
        on_xid: Called with each XID.
        on_change: Called when a poll would find something new.
        listen: Whether to listen for XIDs.
        lock: Shows when a reset needs the GPUs; during the reset, a poll returns the last known state.
    """

    def __init__(
        self,
        paths: DriverPaths,
        on_xid: Callable[[Xid], None],
        on_change: Callable[[], None],
        *,
        listen: bool,
        lock: DriverLock,
    ) -> None:
        self._paths = paths
        self._on_xid = on_xid
        self._on_change = on_change
        self._listen = listen
        self._lock = lock
        self._state = DriverState()
        self._listen_error = ""
        self._nvml = Nvml()
        self._prober = Prober(self._nvml, paths)
        self._session: Session | None = None
        self._known: dict[str, Gpu] = {}
        self._log = structlog.get_logger()

    @property
    def current(self) -> tuple[str, float]:
        """The current call and its start, as in `Nvml`; for use in any thread."""
        return self._nvml.current

    @property
    def listens(self) -> bool:
        """Whether there is a session that receives XIDs."""
        return self._session is not None and self._session.listens

    def poll(self) -> DriverState:
        """Poll the driver and return its state.

        Raises:
            DriverMismatch: only a new process can use this driver.
            DriverFailure: a reset has been using the GPUs since before the first poll.
        """
        try:
            return self._poll()
        except NvmlError as error:
            if error.code == MISMATCH:
                what = "the driver was replaced, and this process still has the library of the old one"
                raise DriverMismatch(f"{what} ({error})") from error
            return DriverState(reason=no_driver(self._paths, str(error)))

    def wait_for_xids(self) -> None:
        """Wait for XIDs for a moment, or end the session if a reset needs the GPUs."""
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

    def _poll(self) -> DriverState:
        """Poll in the current session, or in a new one if it has ended."""
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
            load_library(self._paths)
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
        unresponsive = {name for name, _ in state.unknown}
        unresponsive_known = {uuid: gpu for uuid, gpu in self._known.items() if uuid in unresponsive}
        self._known = unresponsive_known | {gpu.uuid: gpu for gpu in state.gpus}
        return state
