"""The HTTP side of the fake API server: one handler for each request."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from hub.testing.apiserver import errors
from hub.testing.apiserver.access import Access, check_permission
from hub.testing.apiserver.errors import RequestError
from hub.testing.apiserver.faults import Fault, Faults
from hub.testing.apiserver.kinds import Object, Target, parse
from hub.testing.apiserver.resources import Resources
from hub.testing.apiserver.watching import Watches

_OK = 200
_KEPT_REQUESTS = 10_000


class Request(NamedTuple):
    """A request that was received; a status of 0 means that it has no response."""

    method: str
    path: str
    """With the query."""
    body: Object
    status: int
    time: float
    """When it arrived, by the clock of the event loop."""


class Parts(NamedTuple):
    """What a handler needs from the server."""

    access: Access
    faults: Faults
    resources: Resources
    watches: Watches
    requests: list[Request]


class Handler(RequestHandler):
    """Answers one request."""

    def initialize(self, parts: Parts) -> None:
        """Receive what the handler needs from the server."""
        self._parts = parts
        self._time = asyncio.get_running_loop().time()
        self._body: Object = {}
        self._closed = asyncio.Event()

    def on_connection_close(self) -> None:
        """Record that no client is waiting for the response any longer."""
        self._closed.set()

    async def prepare(self) -> None:
        """Answer, whatever the method."""
        method, path = self.request.method or "", self.request.path
        fault = self._parts.faults.take(method, path)
        try:
            self._body = self._decoded()
            if fault and not fault.lose:
                await self._fail(fault)
            else:
                await self._execute_request(method, path, lose=fault is not None)
        except RequestError as error:
            self._answer(error.code, error.status)

    def _decoded(self) -> Object:
        try:
            found: Object = json.loads(self.request.body) if self.request.body else {}
        except ValueError:
            words = "the body of the request was in an unknown format - accepted media types include: application/json"
            raise RequestError(errors.UNSUPPORTED, words) from None
        return found

    async def _fail(self, fault: Fault) -> None:
        if fault.hang:
            self._note(0)
            await self._closed.wait()
            return
        for name, content in fault.headers.items():
            self.set_header(name, content)
        raise RequestError(fault.status, fault.message)

    async def _execute_request(self, method: str, path: str, *, lose: bool) -> None:
        target = parse(path)
        if target is None:
            raise RequestError(errors.NOT_FOUND, "the server could not find the requested resource")
        caller = self._parts.access.caller(self.request.headers.get("Authorization", ""))
        query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        if method == "GET" and query.get("watch") in ("1", "true"):
            check_permission(caller, "watch", target)
            await self._watch(target, query)
            return
        status, answer = self._parts.resources.answer(caller, method, target, query, self._body)
        if lose:
            self._note(0)
            self.detach().close()
        else:
            self._answer(status, answer)

    async def _watch(self, target: Target, query: Mapping[str, str]) -> None:
        self._note(_OK)
        self.set_header("Content-Type", "application/json")
        async with aclosing(self._parts.watches.events(target, query)) as events:
            try:
                await self.flush()
                while found := await self._next(events):
                    self.write(json.dumps(found) + "\n")
                    await self.flush()
            except StreamClosedError:
                return
        if not self._closed.is_set():
            self.finish()

    async def _next(self, events: AsyncIterator[Object]) -> Object | None:
        """Return the next event; None if there are no more, or no client is waiting for it."""
        event, closed = asyncio.ensure_future(anext(events, None)), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait([event, closed], return_when=asyncio.FIRST_COMPLETED)
            return event.result() if event.done() else None
        finally:
            unfinished = [each for each in (event, closed) if not each.done()]
            for each in unfinished:
                each.cancel()
            if unfinished:
                await asyncio.wait(unfinished)

    def _answer(self, status: int, content: Any) -> None:  # noqa: ANN401 - JSON
        self._note(status)
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    def _note(self, status: int) -> None:
        method, uri = self.request.method or "", self.request.uri or ""
        self._parts.requests.append(Request(method, uri, self._body, status, self._time))
        del self._parts.requests[:-_KEPT_REQUESTS]
