"""Find the processes that use a GPU. KFD lists those that use ROCm, anywhere on the node.

Processes that use a GPU only for graphics are not among them.
"""

from collections.abc import Iterator

from hub import Host, process_name, read_number
from plugins.amd.discovery.files import DIGITS, entries
from plugins.amd.discovery.kfd import KFD


def processes_on(host: Host, gpu_id: int, slack: int) -> Iterator[str]:
    """Yield the processes that hold more than `slack` bytes of a GPU's memory."""
    for directory in entries(host.path(f"{KFD}/proc"), DIGITS):
        held = read_number(directory / f"vram_{gpu_id}") or 0
        if held > slack:
            name = process_name(host, directory.name) or "unknown"
            yield f"process {directory.name} ({name}) with {held / 2**20:.0f} MiB"
