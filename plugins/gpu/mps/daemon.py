"""One control daemon of MPS: NVIDIA's program, told what NVIDIA's plugin tells it."""

import msgspec
import structlog

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.mps.paths import log_directory, pipe_directory, shm_directory
from plugins.gpu.nvml.programs import ProgramFailed, run_program

PROGRAM = "nvidia-cuda-mps-control"

_START_LIMIT = 10.0
_ANSWER_LIMIT = 3.0
"""Seconds. A daemon is_running from memory."""

_VOLTA = 7
_CLIENTS, _OLD_CLIENTS = 48, 16
"""The most clients of a GPU's server, since the Volta generation and before (NVIDIA's MPS documentation)."""


class MpsLimits(msgspec.Struct, frozen=True):
    """What a client of a resource may use of each GPU.

    Args:
        gpus: UUID by index.
        memory: MiB by index.
        replicas: How many share a GPU.
    """

    gpus: dict[str, str]
    memory: dict[str, int]
    replicas: int

    @classmethod
    def of(cls, gpus: list[Gpu], replicas: int) -> "MpsLimits":
        """An equal part for each."""
        return cls(
            {str(gpu.index): gpu.uuid for gpu in gpus},
            {str(gpu.index): (gpu.memory // replicas) >> 20 for gpu in gpus},
            replicas,
        )


def why_too_many(gpu: Gpu, replicas: int) -> str:
    """Why MPS cannot serve so many clients on a GPU; empty when it can."""
    most = _CLIENTS if gpu.compute_capability[0] >= _VOLTA else _OLD_CLIENTS
    return f"MPS serves at most {most} clients on a {gpu.name}, and replicas is {replicas}" if replicas > most else ""


class MpsDaemon:
    """The daemon of one resource. It is a process of the node's: containers that run depend on it, so it outlives us.

    Args:
        paths: Where the driver is.
        root: The directory on the node for all daemons.
        resource: Whose daemon it is.
    """

    def __init__(self, paths: DriverPaths, root: str, resource: str) -> None:
        self._paths = paths
        self._root = root
        self._resource = resource
        self._marker = paths.host.path(f"{root}/{resource}/.dphub")
        self._log = structlog.get_logger(resource=resource)

    @property
    def limits(self) -> MpsLimits | None:
        """What the daemon was last told, by whichever process of ours."""
        try:
            return msgspec.json.decode(self._marker.read_bytes(), type=MpsLimits)
        except (OSError, msgspec.DecodeError):
            return None

    def is_running(self) -> bool:
        """Whether there is a daemon."""
        try:
            self._send("get_default_active_thread_percentage")
        except ProgramFailed as failed:
            self._log.debug("mps daemon not ready", reason=str(failed))
            return False
        return True

    def start(self, limits: MpsLimits) -> None:
        """Start the daemon and tell it the limits.

        Raises:
            ProgramFailed: that did not work.
        """
        for uuid in limits.gpus.values():
            self._set_mode(uuid, "EXCLUSIVE_PROCESS")
        for directory in (
            pipe_directory(self._root, self._resource),
            log_directory(self._root, self._resource),
            shm_directory(self._root),
        ):
            self._paths.host.path(directory).mkdir(parents=True, exist_ok=True)
        run_program(self._paths, PROGRAM, ["-d"], timeout=_START_LIMIT, environment=self._environment())
        self._log.info("mps daemon started")
        self.set_limits(limits)

    def set_limits(self, limits: MpsLimits) -> None:
        """Tell a running daemon its limits; they hold for clients that come.

        Raises:
            ProgramFailed: it does not take them.
        """
        for index, memory in limits.memory.items():
            self._send(f"set_default_device_pinned_mem_limit {index} {memory}M")
        self._send(f"set_default_active_thread_percentage {100 // limits.replicas}")
        self._marker.write_bytes(msgspec.json.encode(limits))

    def quit(self) -> None:
        """End the daemon, and let its GPUs be used as before.

        Raises:
            ProgramFailed: that did not work.
        """
        limits = self.limits
        if self.is_running():
            self._send("quit")
            self._log.info("mps daemon stopped")
        for uuid in limits.gpus.values() if limits else ():
            self._set_mode(uuid, "DEFAULT")
        self._marker.unlink(missing_ok=True)

    def _send(self, command: str) -> str:
        return run_program(
            self._paths,
            PROGRAM,
            [],
            timeout=_ANSWER_LIMIT,
            stdin=f"{command}\n",
            environment=self._environment(),
        )

    def _set_mode(self, uuid: str, mode: str) -> None:
        run_program(self._paths, "nvidia-smi", ["-i", uuid, "-c", mode], timeout=_START_LIMIT)

    def _environment(self) -> dict[str, str]:
        path = self._paths.host.path
        return {
            "CUDA_MPS_PIPE_DIRECTORY": str(path(pipe_directory(self._root, self._resource))),
            "CUDA_MPS_LOG_DIRECTORY": str(path(log_directory(self._root, self._resource))),
        }
