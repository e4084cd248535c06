"""How much memory a response from the kubelet's pod resources API can take."""

import asyncio
import sys
from pathlib import Path

import pytest

from hub.kubelet import podresources
from tests.unit.kubelet.test_odd_answers import kubelet_answering, message, pod


def _most_of(unit: bytes) -> bytes:
    """Repeat a part of a message up to the largest size that is accepted."""
    room = podresources.MESSAGE_BYTES - 64
    return unit * (room // len(unit))


LARGEST = {
    "pods": _most_of(b"\x0a\x00"),
    "containers": message(1, _most_of(b"\x1a\x00")),
    "pods with a container": _most_of(message(1, message(3, b""))),
    "devices": pod(devices=_most_of(b"\x12\x00")),
    "names of devices": pod(devices=message(2, _most_of(b"\x12\x00"))),
    "NUMA nodes": pod(devices=message(2, message(3, _most_of(b"\x0a\x00")))),
    "CDI devices": pod(devices=message(5, message(4, _most_of(b"\x22\x00")))),
    "processors": pod(devices=message(3, _most_of(b"\x01"))),
}
"""The largest responses, made of the smallest possible parts, which take the most memory for their size."""

MEASURE = """
import asyncio, resource, sys
from pathlib import Path
from hub.kubelet import podresources
podresources.TIMEOUT = 60.0
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
asyncio.run(podresources.list_holders(Path(sys.argv[1])))
print(used() - before)
"""
"""A program that prints by how many KiB a response makes its process grow."""

MEMORY_BYTES = 200 << 20
"""The most memory that a response may take."""


@pytest.mark.parametrize("answer", LARGEST.values(), ids=LARGEST)
async def test_the_largest_answer_takes_little_memory(tmp_path: Path, answer: bytes) -> None:
    """Whatever a broken kubelet returns, the memory that its response takes is limited."""
    socket = tmp_path / "kubelet.sock"
    async with kubelet_answering(socket, answer):
        measuring = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEASURE, str(socket), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await measuring.communicate()
    assert int(output) << 10 < MEMORY_BYTES
