"""Find the processes that use a GPU, as KFD lists them: those that use ROCm, wherever on the node they run.

Processes that use a GPU for graphics only are not among them.
"""

from collections.abc import Iterator

from hub import Host, UnreadableError, read_text
from plugins.amd.discovery.files import DIGITS, entries, number
from plugins.amd.discovery.kfd import KFD


def processes_on(host: Host, gpu_id: int, slack: int) -> Iterator[str]:
    """Yield the processes that hold more than this many bytes of a GPU's memory."""
    for directory in entries(host.path(f"{KFD}/proc"), DIGITS):
        held = number(directory / f"vram_{gpu_id}") or 0
        if held > slack:
            yield f"process {directory.name} ({_name(host, directory.name)}) with {held / 2**20:.0f} MiB"


def _name(host: Host, pid: str) -> str:
    """Return a process's name, which need not be UTF-8: any process can choose its own."""
    try:
        return read_text(host.path(f"/proc/{pid}/comm"), errors="backslashreplace").strip()
    except UnreadableError:
        return "unknown"
