"""Rules about what else happens on a node: files that disappear, and other programs on the socket."""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hub.testing.conformance.calls import answers
from hub.testing.conformance.restarts import Return, failure, observe_return
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject
from hub.testing.held import HeldSocket

_SEED = 20260101
"""The same bytes each time, so that a failure can be repeated."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HUGE_FRAME = b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"

_DOCS = "Kubernetes documentation, Device Plugins, Handling kubelet restarts"


async def emptied(subject: Subject) -> Return:
    """Delete all files in the plugin directory, then replace the kubelet."""
    await subject.registered()
    for path in subject.plugin_dir.iterdir():
        if not path.is_dir():
            path.unlink(missing_ok=True)
    await subject.kubelet.crash()
    await subject.kubelet.start()
    return await observe_return(subject)


async def replaced(subject: Subject) -> Return:
    """Replace the plugin directory, as reinstalling the node does."""
    await subject.registered()
    await subject.kubelet.stop()
    directory = subject.kubelet.plugin_dir
    try:
        await asyncio.to_thread(directory.remove)
    except OSError as error:
        raise NotApplicable(f"{directory.path} cannot be replaced: {error.strerror}") from None
    finally:
        await subject.kubelet.start()
    return await observe_return(subject)


@rule(
    "survives-garbage",
    Level.SHOULD,
    "It is not affected by clients that send anything other than gRPC.",
    reason="Monitoring and port scanners connect to sockets too. A plugin that crashes takes its devices with it.",
    source="Linux: any process with access to the directory can connect",
)
async def survives_garbage(subject: Subject) -> Findings:
    """Send garbage, then check whether the plugin still answers, and is registered as before."""
    path = await subject.socket()
    before = subject.registration_count()
    for data in _garbage():
        await _send(path, data)
    if subject.exit:
        yield f"after receiving garbage on its socket, {subject.exit}"
    elif not await answers(path, subject.limits.answer):
        yield "after receiving garbage on its socket, it does not answer"
    elif subject.registration_count() > before:
        yield "after receiving garbage on its socket, it registered again"


@rule(
    "socket-deleted",
    Level.SHOULD,
    "If its socket is deleted, it serves and registers again.",
    reason="The running kubelet keeps its connection, but a new one finds nothing: once the old connection breaks, "
    "the devices are gone until the plugin restarts.",
    source=_DOCS,
)
async def socket_deleted(subject: Subject) -> Findings:
    """Delete the socket, and connect again."""
    (await _plugin_socket(subject)).unlink(missing_ok=True)
    if not await subject.until_serving(subject.limits.back):
        yield f"{subject.limits.back:g} s after its socket was deleted, it does not serve{_and(subject.exit)}"


@rule(
    "socket-replaced",
    Level.SHOULD,
    "If its socket is replaced by one that nothing is listening on, it serves and registers again.",
    reason="When a second instance of the plugin exits, as in an upgrade, it leaves such a socket behind. The file "
    "exists, but a new connection is refused.",
    source=_DOCS,
)
async def socket_replaced(subject: Subject) -> Findings:
    """Replace the socket, and connect again."""
    path = await _plugin_socket(subject)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as unserved:
        unserved.bind(str(path))
    if not await subject.until_serving(subject.limits.back):
        yield f"{subject.limits.back:g} s after its socket was replaced, it does not serve{_and(subject.exit)}"


@rule(
    "directory-emptied",
    Level.MUST,
    "It registers again if all files in the plugin directory were deleted before the kubelet's start.",
    reason="A node that is cleaned up or reinstalled starts with an empty directory. Until the plugin registers, the "
    "resource has no devices.",
    source=_DOCS,
)
async def directory_emptied(subject: Subject) -> Findings:
    """Empty the directory."""
    if why := failure(await subject.once(emptied), subject.limits.back):
        yield f"after its directory was emptied, {why}"


@rule(
    "directory-replaced",
    Level.SHOULD,
    "If the plugin directory itself is replaced, it registers again in the new one, or exits.",
    reason="A pod's mount keeps showing the old directory. Only restarting the container fixes this, and only the "
    "plugin can notice it.",
    source="Linux: a bind mount belongs to the directory, not to its path",
)
async def directory_replaced(subject: Subject) -> Findings:
    """Replace the directory."""
    found = await subject.once(replaced)
    if found.seconds is not None or found.exit:
        return
    if not subject.has_command:
        raise NotApplicable("it did not register again, and the check cannot see whether it exited")
    yield f"{subject.limits.back:g} s after its directory was replaced, it has neither registered again nor exited"


async def _plugin_socket(subject: Subject) -> Path:
    """Return the plugin's socket, to remove or replace it; this requires a plugin that registers with the kubelet."""
    await subject.registered()
    return await subject.socket()


def _and(clause: str) -> str:
    return f": {clause}" if clause else ""


def _garbage() -> Iterator[bytes]:
    rng = random.Random(_SEED)  # noqa: S311 - not a secret
    yield b""
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield _PREFACE
    yield _PREFACE + _HUGE_FRAME
    for size in (1, 9, 100, 5000, 100_000):
        yield rng.randbytes(size)
        yield _PREFACE + rng.randbytes(size)


async def _send(path: Path, data: bytes) -> None:
    # The plugin may refuse the connection or close it early; what counts is what it does afterwards.
    with suppress(OSError), HeldSocket(path) as held:
        _, writer = await asyncio.open_unix_connection(held.descriptor_path)
        with suppress(OSError):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


RULES = (survives_garbage, socket_deleted, socket_replaced, directory_emptied, directory_replaced)
