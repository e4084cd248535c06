"""One MPS control daemon: NVIDIA's program, configured as NVIDIA's plugin does it."""

import msgspec
import structlog

from hub import ProgramFailed
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.mps.labels import allow_containers
from plugins.gpu.mps.paths import log_directory, pipe_directory, shm_directory
from plugins.gpu.nvml.programs import run_driver_program

PROGRAM = "nvidia-cuda-mps-control"

_START_TIMEOUT = 10.0
_ANSWER_TIMEOUT = 3.0
"""Seconds. A daemon answers from memory."""

_VOLTA = 7
_CLIENTS, _OLD_CLIENTS = 48, 16
"""Maximum number of clients per GPU server: for Volta and later, and for earlier ones (NVIDIA's MPS documentation)."""


class MpsLimits(msgspec.Struct, frozen=True):
    """The part of each GPU that a client of a resource may use.

    Args:
        gpus: UUID by index.
        memory: MiB by index.
        replicas: The number of clients that share a GPU.
    """

    gpus: dict[str, str]
    memory: dict[str, int]
    replicas: int

    @classmethod
    def of(cls, gpus: list[Gpu], replicas: int) -> "MpsLimits":
        """Divide GPUs equally among the clients; `clients_problem` finds those that cannot be divided."""
        return cls(
            {str(gpu.index): gpu.uuid for gpu in gpus},
            {str(gpu.index): ((gpu.memory or 0) // replicas) >> 20 for gpu in gpus},
            replicas,
        )


def clients_problem(gpu: Gpu, replicas: int) -> str:
    """Return why MPS cannot serve that many clients on a GPU; empty if it can."""
    if gpu.memory is None:
        return f"MPS cannot limit the memory of clients: the driver reports none for {gpu.name}"
    most = _CLIENTS if gpu.compute_capability and gpu.compute_capability[0] >= _VOLTA else _OLD_CLIENTS
    return f"MPS serves at most {most} clients per {gpu.name}, but replicas is {replicas}" if replicas > most else ""


class MpsDaemon:
    """The daemon of one resource. It outlives the plugin process, because running containers depend on it.

    Args:
        paths: Where the driver is.
        root: The directory on the node for all daemons.
        resource: The resource.
    """

    def __init__(self, paths: DriverPaths, root: str, resource: str) -> None:
        self._paths = paths
        self._root = root
        self._resource = resource
        self._log = structlog.get_logger(resource=resource)

    def is_running(self) -> bool:
        """Check whether the daemon answers."""
        try:
            self._send("get_default_active_thread_percentage")
        except ProgramFailed as failed:
            self._log.debug("mps daemon not ready", reason=str(failed))
            return False
        return True

    def start(self, limits: MpsLimits) -> None:
        """Start the daemon and set its limits.

        Raises:
            ProgramFailed: the daemon did not start.
            OSError: its directories cannot be created or labelled.
        """
        for uuid in limits.gpus.values():
            self._set_mode(uuid, "EXCLUSIVE_PROCESS")
        for directory in (
            pipe_directory(self._root, self._resource),
            log_directory(self._root, self._resource),
            shm_directory(self._root),
        ):
            self._paths.host.path(directory).mkdir(parents=True, exist_ok=True)
        for directory in (pipe_directory(self._root, self._resource), shm_directory(self._root)):
            allow_containers(self._paths.host, directory)
        run_driver_program(self._paths, PROGRAM, ["-d"], timeout=_START_TIMEOUT, environment=self._environment())
        self._log.info("mps daemon started")
        self.set_limits(limits)

    def set_limits(self, limits: MpsLimits) -> None:
        """Set the limits of a running daemon; they apply to new clients.

        Raises:
            ProgramFailed: the daemon rejects them.
        """
        for index, memory in limits.memory.items():
            self._send(f"set_default_device_pinned_mem_limit {index} {memory}M")
        self._send(f"set_default_active_thread_percentage {100 // limits.replicas}")

    def quit(self, limits: MpsLimits) -> None:
        """Stop the daemon, and restore the compute mode of the GPUs for which it was started.

        Raises:
            ProgramFailed: the daemon did not stop.
        """
        if self.is_running():
            self._send("quit")
            self._log.info("mps daemon stopped")
        for uuid in limits.gpus.values():
            self._set_mode(uuid, "DEFAULT")

    def _send(self, command: str) -> str:
        return run_driver_program(
            self._paths,
            PROGRAM,
            [],
            timeout=_ANSWER_TIMEOUT,
            stdin=f"{command}\n",
            environment=self._environment(),
        )

    def _set_mode(self, uuid: str, mode: str) -> None:
        run_driver_program(self._paths, "nvidia-smi", ["-i", uuid, "-c", mode], timeout=_START_TIMEOUT)

    def _environment(self) -> dict[str, str]:
        path = self._paths.host.path
        return {
            "CUDA_MPS_PIPE_DIRECTORY": str(path(pipe_directory(self._root, self._resource))),
            "CUDA_MPS_LOG_DIRECTORY": str(path(log_directory(self._root, self._resource))),
        }
