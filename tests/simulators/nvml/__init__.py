"""A node with simulated NVIDIA GPUs: a driver library with the real interface, and the files around it.

The library reads a file at each call, so a test decides what the driver does while processes use it.
"""

from pathlib import Path

from .profiles import (
    DRIVERS,
    NOT_SUPPORTED,
    SimulatedGpu,
    SimulatedMig,
    ancestor,
    divide,
    make_gpu,
    make_profile,
    name_uuid,
)
from .tree import LIBRARIES, write_driver, write_tree

__all__ = ["SimulatedGpu", "SimulatedMig", "SimulatedNode", "make_gpu", "name_uuid"]

DRIVER = "580.82.07"

DRIVER_NOT_LOADED, LOST, MISMATCH, UNKNOWN = 9, 15, 18, 999
"""Error codes of NVML functions (nvmlReturn_t)."""

HANGS = -1
"""The code of a function that does not return."""

WHOLE = 0xFFFFFFFF
"""The instance in an event for the whole GPU."""


class SimulatedNode:
    """A node and its driver, whose faults a test causes.

    Args:
        root: An empty directory for the node's file system.
        profile: The profile of the GPUs; see `make_profile`.
        mig: MIG layouts by GPU number, or one layout for all GPUs.
    """

    def __init__(self, root: Path, profile: str = "switch8", mig: str | dict[int, str] | None = None) -> None:
        self.root = root
        self.gpus: list[SimulatedGpu] = make_profile(profile)
        self._version = DRIVERS.get(profile, DRIVER)
        self.driver = self._version
        self.failures: dict[str, int] = {}
        self._file = root / "simulator" / "nvml"
        self._file.parent.mkdir(parents=True)
        layouts = dict.fromkeys(range(len(self.gpus)), mig) if isinstance(mig, str) else mig or {}
        for number, layout in layouts.items():
            divide(self.gpus[number], layout)
        write_driver(root, self.driver)
        self.apply()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a process needs to find the library and its state."""
        return {"NVML_SIMULATOR": str(self._file), "LD_LIBRARY_PATH": str(self.root / LIBRARIES)}

    def apply(self) -> None:
        """Make the library and the files match the attributes."""
        self._absorb()
        write_tree(self.root, self.gpus, self.driver)
        scratch = self._file.with_suffix(".new")
        scratch.write_text("".join(f"{line}\n" for line in self._lines()))
        scratch.replace(self._file)
        self._notes.unlink(missing_ok=True)

    # Faults in the driver.

    def xid(self, gpu: int, code: int, gi: int = WHOLE, ci: int = WHOLE) -> None:
        """Make the driver report an error."""
        with self._file.with_suffix(".events").open("a") as events:
            events.write(f"{self.gpus[gpu].uuid} 8 {code} {gi} {ci}\n")

    def hang(self, function: str = "*") -> None:
        """Make calls to a function hang until `clear_faults`."""
        self.fail(function, HANGS)

    def delay(self, function: str, milliseconds: int) -> None:
        """Make calls to a function take this long until `clear_faults`."""
        self.fail(function, -milliseconds)

    def fail(self, function: str, code: int) -> None:
        """Make calls to a function return an error until `clear_faults`."""
        self.failures[function] = code
        self.apply()

    def clear_faults(self) -> None:
        """Remove the faults of the driver."""
        self.failures.clear()
        self.driver = self.driver or self._version
        self.apply()

    def unload(self) -> None:
        """Unload the driver."""
        self.driver = ""
        self.failures = {"*": DRIVER_NOT_LOADED}
        self.apply()

    def mismatch(self) -> None:
        """Replace the driver, so that processes have loaded the library of the old one."""
        self.fail("*", MISMATCH)

    # Changes to a GPU.

    def lose(self, gpu: int) -> None:
        """Make the GPU fall off the bus: every call about it returns GPU_IS_LOST."""
        self.gpus[gpu].failures["*"] = LOST
        self.apply()

    def set(self, gpu: int, **values: int) -> None:
        """Set values of the GPU, such as ecc_volatile, remap_failed, recovery, used or compute_mode."""
        self.gpus[gpu].values |= values
        self.apply()

    def unsupported(self, gpu: int, *functions: str) -> None:
        """Set the functions that the GPU does not support."""
        self.gpus[gpu].failures |= dict.fromkeys(functions, NOT_SUPPORTED)
        self.apply()

    def processes(self, gpu: int, *processes: tuple[int, int, str], gi: int = WHOLE, ci: int = WHOLE) -> None:
        """Set the GPU's compute processes: process id, bytes, name."""
        self.gpus[gpu].processes = [(pid, size, gi, ci, name) for pid, size, name in processes]
        self.apply()

    def graphics_processes(self, gpu: int, *processes: tuple[int, int, str]) -> None:
        """Set the GPU's processes with graphics work but no compute work: process id, bytes, name."""
        self.gpus[gpu].graphics_processes = [(pid, size, WHOLE, WHOLE, name) for pid, size, name in processes]
        self.apply()

    def divide(self, gpu: int, layout: str | None) -> None:
        """Set the MIG devices that the GPU has from now on."""
        divide(self.gpus[gpu], layout)
        self.apply()

    def unplug(self, gpu: int) -> SimulatedGpu:
        """Remove a GPU; the GPUs after it are renumbered."""
        gone = self.gpus.pop(gpu)
        self.apply()
        return gone

    def plug(self, gpu: SimulatedGpu) -> None:
        """Add a GPU as the last one."""
        self.gpus.append(gpu)
        self.apply()

    def repair(self, gpu: int) -> None:
        """Remove all faults of the GPU."""
        healed = self.gpus[gpu]
        self._absorb()
        healed.values, healed.failures, healed.node = {}, {}, True
        healed.processes, healed.graphics_processes = [], []
        self.apply()

    # The actions of processes.

    def value(self, gpu: int, key: str) -> int:
        """Return a value that was set, or 1 for an action that was performed, such as gpu_clocks_reset or gpu_reset."""
        self._absorb()
        return self.gpus[gpu].values.get(key, 0)

    def nvidia_smi(self, action: str = "") -> None:
        """Make nvidia-smi `hang` or `fail` with a message; without an argument, make it work."""
        order = self._file.with_suffix(".smi")
        if action:
            order.write_text(f"{action}\n")
        else:
            order.unlink(missing_ok=True)

    @property
    def _notes(self) -> Path:
        return self._file.with_suffix(".notes")

    def _absorb(self) -> None:
        """Apply what processes have set."""
        if not self._notes.exists():
            return
        for line in self._notes.read_text().splitlines():
            words = line.split()
            gpu = self.gpus[int(words[1])]
            if words[0] == "heal":
                gpu.failures.clear()
            else:
                gpu.values[words[2]] = int(words[3])

    def _lines(self) -> list[str]:
        lines = [f"driver {self.driver} 13000"] if self.driver else []
        for number, gpu in enumerate(self.gpus):
            lines += [f"gpu {number} {line}" for line in self._gpu_lines(gpu)]
            failures = gpu.failures | gpu.lacks
            lines += [f"fail {number} {function} {code}" for function, code in failures.items()]
        return lines + [f"fail -1 {function} {code}" for function, code in self.failures.items()]

    def _gpu_lines(self, gpu: SimulatedGpu) -> list[str]:
        links = max(gpu.peers.values(), default=0) if gpu.switched else sum(gpu.peers.values())
        facts = {"uuid": gpu.uuid, "name": gpu.name, "pci": gpu.pci, "minor": gpu.minor, "cc": gpu.cc, "links": links}
        facts |= {"switched": int(gpu.switched), "mig": int(gpu.mig), "memory": gpu.memory} | gpu.values
        lines = [f"{key} {value}" for key, value in facts.items()]
        for number, other in enumerate(self.gpus):
            if other is not gpu:
                lines += [f"ancestor {number} {ancestor(gpu, other)}"]
                lines += [f"peer_links {number} {gpu.peers.get(other.uuid, 0)}"]
        for kind, processes in (("process", gpu.processes), ("graphics", gpu.graphics_processes)):
            lines += [f"{kind} {pid} {size} {gi} {ci} {name}" for pid, size, gi, ci, name in processes]
        for mig in gpu.migs:
            sizes = f"{mig.gi} {mig.ci} {mig.gpu_slices} {mig.compute_slices} {mig.memory}"
            lines.append(f"migdev {mig.index} {mig.uuid} {mig.profile} {sizes}")
        return lines
