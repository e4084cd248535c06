"""AMD's metrics exporter, as far as the health of GPUs is concerned."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

SERVICE = "metricssvc.MetricsService"


def encoded(states: Mapping[str, str]) -> bytes:
    """Return the exporter's response if it knows these devices in these states."""
    answer = b""
    for number, (device, health) in enumerate(states.items()):
        state = b"".join(
            _field(key, text.encode())
            for key, text in ((1, str(number)), (2, f"uuid-{number}"), (3, health), (4, "pod"), (4, "job"), (5, device))
        )
        answer += _field(1, state)
    return answer


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message, whose content must be shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


class SimulatedExporter:
    """The exporter's service on a socket.

    Args:
        socket: The path of the socket, whose directory is created.
        service: The name by which the service answers.
    """

    def __init__(self, socket: Path, service: str = SERVICE) -> None:
        self.states: dict[str, str] = {}
        self.answer: bytes | None = None
        """The response to give in place of the one that `states` describes."""
        self._socket = socket
        self._service = service

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        server = grpc.server(ThreadPoolExecutor(max_workers=1))
        method = grpc.unary_unary_rpc_method_handler(lambda _request, _context: self._list())
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(self._service, {"List": method})])
        server.add_insecure_port(f"unix:{self._socket}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()

    def _list(self) -> bytes:
        return encoded(self.states) if self.answer is None else self.answer
