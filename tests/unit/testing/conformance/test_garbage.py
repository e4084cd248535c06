"""Responses from a plugin under test that are not messages of the API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub.kubelet.channel import unix_target
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import RegistrationStub
from hub.testing.conformance import RULES, check
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.rule import Rule
from hub.testing.conformance.subject import Subject
from hub.testing.kubelet import AdmissionError
from hub.testing.plugin import STUB
from tests.harness.kubelet import node

GARBAGE = b"\xff\xff\xff"
ANSWERS = {
    "GetDevicePluginOptions": b"\x08\x01\x10\x01",
    "ListAndWatch": b"\x0a\x0c\x0a\x01a\x12\x07Healthy",
    "Allocate": b"\x0a\x00",
    "GetPreferredAllocation": b"",
    "PreStartContainer": b"",
}
"""The responses from a plugin with one device, by method: it has a preference, and wants PreStartContainer."""


class _Plugin(grpc.GenericRpcHandler):
    """A plugin.

    Args:
        answers: Its encoded responses, by method.
    """

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - as grpc has it
        """Return what answers a method."""
        method = handler_call_details.method.rpartition("/")[2]
        answer = self._answers[method]

        async def respond(*_: object) -> bytes:
            return answer

        async def stream(*_: object) -> AsyncIterator[bytes]:
            yield answer
            await asyncio.Event().wait()

        if method == "ListAndWatch":
            return grpc.unary_stream_rpc_method_handler(stream)  # type: ignore[arg-type] # of grpc.aio
        return grpc.unary_unary_rpc_method_handler(respond)


@asynccontextmanager
async def _served(directory: Path, answers: dict[str, bytes]) -> AsyncIterator[None]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([_Plugin(answers)])
    server.add_insecure_port(unix_target(directory / "plugin.sock"))
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def _failed(directory: Path, answers: dict[str, bytes], rules: Sequence[Rule]) -> list[str]:
    limits = Limits(quick=0.3, watch=0.3, settle=0.1)
    async with _served(directory, answers), Subject(socket=directory / "plugin.sock", limits=limits) as subject:
        return [result.rule async for result in check(subject, rules) if result.outcome == "failed"]


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        ("GetDevicePluginOptions", {"options-answered"}),
        ("ListAndWatch", {"first-list", "several-streams"}),
        ("Allocate", {"allocate-answers"}),
        ("GetPreferredAllocation", {"preference-answers"}),
        ("PreStartContainer", {"prestart-answers"}),
    ],
)
async def test_an_answer_that_cannot_be_decoded_breaks_a_rule(directory: Path, method: str, broken: set[str]) -> None:
    """The check reports it, and neither takes it for a response nor fails."""
    rules = [RULES[name] for name in ("options-answered", "first-list", "several-streams", "allocate-answers")]
    rules += [RULES[name] for name in ("preference-answers", "prestart-answers", "survives-garbage")]
    assert not await _failed(directory, ANSWERS, rules)
    assert broken <= set(await _failed(directory, ANSWERS | {method: GARBAGE}, rules))


async def test_the_fake_kubelet_takes_no_garbage_for_an_answer() -> None:
    """As for a kubelet, the call fails, and the pod is not admitted."""
    async with node() as it, _served(it.plugin_dir, ANSWERS | {"Allocate": GARBAGE}):
        async with grpc.aio.insecure_channel(unix_target(it.plugin_dir / "kubelet.sock")) as channel:
            request = wire.RegisterRequest(version="v1beta1", endpoint="plugin.sock", resource_name=STUB)
            await RegistrationStub(channel).Register(request)
        await it.kubelet.wait_for(STUB, 1)
        with pytest.raises(AdmissionError, match="unmarshal"):
            await it.kubelet.admit("pod", {STUB: 1})
