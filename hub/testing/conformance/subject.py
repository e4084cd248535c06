"""The plugin under test, and the fake kubelet that it talks to."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from hub.testing.conformance.calls import answers, connected
from hub.testing.conformance.command import PluginCommand
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.rule import NotApplicable
from hub.testing.kubelet import FakeKubelet, ListUpdate, Registered

if TYPE_CHECKING:
    from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginAsyncStub

POLL_SECONDS = 0.01

_ONLY_SOCKET = "only the plugin's socket is known"
_NO_COMMAND = "the plugin was not started by a command"
_UNREGISTERED = "the plugin is not registered: see the rule registers"
_LOST = "the plugin did not register again after an earlier rule: see the first one that failed"

T = TypeVar("T")


class Subject:
    """A plugin under test, inside an `async with` block.

    Every part that a rule asks for is there or raises NotApplicable.

    Args:
        socket: Where the plugin serves, if nothing else is known.
        kubelet: The fake kubelet that it talks to; started with the subject.
        command: Starts the plugin.
        resource: The resource to check; by default the first one that is registered.
        limits: How long checks wait.
        change: A command that changes the plugin's list of devices.
    """

    def __init__(
        self,
        *,
        socket: Path = Path(),
        kubelet: FakeKubelet | None = None,
        command: PluginCommand | None = None,
        resource: str = "",
        limits: Limits | None = None,
        change: Sequence[str] = (),
    ) -> None:
        self.resource = resource
        self.limits = limits or Limits()
        self._socket = socket
        self._kubelet = kubelet
        self._command = command
        self._change = change
        self._observed: dict[object, Any] = {}
        self._is_fresh = True
        self._unusable = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._kubelet:
                await stack.enter_async_context(self._kubelet)
            if self._command:
                stack.push_async_callback(self._command.kill)
                await self._command.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # What a rule may ask for.

    @property
    def has_kubelet(self) -> bool:
        """Whether it talks to a fake kubelet."""
        return self._kubelet is not None

    @property
    def kubelet(self) -> FakeKubelet:
        """The fake kubelet that it talks to."""
        if self._kubelet is None:
            raise NotApplicable(_ONLY_SOCKET)
        return self._kubelet

    @property
    def plugin_dir(self) -> Path:
        """The kubelet's plugin directory, by a path that does not lead elsewhere if the plugin puts a link there."""
        return self.kubelet.plugin_dir.descriptor_path

    @property
    def has_command(self) -> bool:
        """Whether a command started it."""
        return self._command is not None

    @property
    def command(self) -> PluginCommand:
        """What starts it."""
        if self._command is None:
            raise NotApplicable(_NO_COMMAND)
        return self._command

    @property
    def change(self) -> Sequence[str]:
        """The command that changes its list."""
        if not self._change:
            raise NotApplicable("no command changes the plugin's list: specify one with --change")
        return self._change

    @property
    def exit(self) -> str:
        """How its process exited, as a clause; empty while it is running, or if that is unknown."""
        return self._command.exit if self._command else ""

    async def once(self, observe: Callable[["Subject"], Awaitable[T]]) -> T:
        """Return what a function observes. It runs for the first rule that needs it; other rules share the result."""
        if observe not in self._observed:
            self._observed[observe] = await _outcome(observe(self))
        found = self._observed[observe]
        if isinstance(found, NotApplicable):
            raise NotApplicable(*found.args)
        return cast("T", found)

    # Where it serves.

    async def socket(self) -> Path:
        """Return the socket on which it serves.

        Raises:
            NotApplicable: it did not register a file in the plugin directory; rules delete and replace the socket.
        """
        if self._kubelet is None:
            return self._socket
        path = self.plugin_dir / (await self.registered()).endpoint
        if path.parent != self.plugin_dir or path.name in {"", ".."}:
            raise NotApplicable("the endpoint is not the name of a file: see the rule endpoint-name")
        return path

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["DevicePluginAsyncStub"]:
        """Connect to it.

        Raises:
            NotApplicable: its socket is gone.
        """
        async with AsyncExitStack() as stack:
            try:
                stub = await stack.enter_async_context(connected(await self.socket()))
            except OSError:
                raise NotApplicable("its socket is gone") from None
            yield stub

    async def registered(self) -> Registered:
        """Return the plugin's registration with the running kubelet; restart the plugin if it is not registered."""
        if self._unusable:
            raise NotApplicable(self._unusable)
        found = await self.serving()
        if found is None:
            if not self._is_fresh:
                await self._start_again()
            found = await self.until_serving(self.limits.start)
        if found is None:
            self._unusable = _UNREGISTERED if self._is_fresh else _LOST
            raise NotApplicable(self._unusable)
        self._is_fresh = False
        self.resource = found.resource
        return found

    async def serving(self) -> Registered | None:
        """Return the plugin's registration with the running kubelet; None if it has none, or does not answer there."""
        accepted = [each for each in self.registrations(self.kubelet.starts) if not each.error]
        if accepted and await answers(self.plugin_dir / accepted[-1].endpoint, self.limits.answer):
            return accepted[-1]
        return None

    async def until_serving(self, limit: float) -> Registered | None:
        """Wait until it is registered and serves; return its registration, or None if it exits or time is up."""
        end = time.monotonic() + limit
        while (found := await self.serving()) is None and time.monotonic() < end and not self.exit:  # noqa: ASYNC110 - polls
            await asyncio.sleep(POLL_SECONDS)
        return found

    def registrations(self, start: int) -> list[Registered]:
        """Return the calls to Register, of the resource if that is known, in one start of the kubelet."""
        return [
            each for each in self.kubelet.registrations if each.start == start and self.resource in ("", each.resource)
        ]

    def registration_count(self) -> int:
        """Return how often it has registered with the running kubelet; 0 if there is no fake kubelet."""
        return len(self.registrations(self._kubelet.starts)) if self._kubelet else 0

    def lists(self) -> list[ListUpdate]:
        """Return the lists that the running kubelet has received."""
        return [each for each in self.kubelet.lists(self.resource or None) if each.start == self.kubelet.starts]

    async def until(self, condition: Callable[[], object], limit: float) -> bool:
        """Wait until a condition is true or the process has exited; return whether the condition is true."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end or self.exit:
                return bool(condition())
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _start_again(self) -> None:
        if self._command:
            await self._command.kill()
            # Another kubelet, so that the registrations of the two processes are not counted together.
            await self.kubelet.restart()
            await self._command.start()


async def _outcome(observed: Awaitable[T]) -> T | NotApplicable:
    try:
        return await observed
    except NotApplicable as reason:
        return reason
