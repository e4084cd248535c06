"""The image as a container of a pod: runc does what a kubelet and its container runtime do with it."""

import asyncio
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hub.testing.waiting import WAIT_SECONDS, wait_until

GRACE = 30.0
"""Seconds that a kubelet gives a pod to terminate before killing it."""

# As containerd mounts them in a pod that is not privileged.
_KERNEL = [
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),  # noqa: S108 - the pod's
    ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
]
_MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_NAMESPACES = ["pid", "network", "ipc", "uts", "mount"]
_SETS = ["bounding", "effective", "permitted"]
# The names are in the kernel's order (linux/capability.h).
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
"""


@dataclass(frozen=True)
class Image:
    """An image that a node has pulled."""

    files: Path
    config: Mapping[str, Any]
    layers: list[int]
    """The bytes of each layer that a node has to pull, those of the base image first."""


@dataclass(frozen=True)
class ContainerSpec:
    """The container of a pod's specification."""

    command: list[str] = field(default_factory=list)
    """The command, which replaces the image's own."""
    args: list[str] = field(default_factory=list)
    """The arguments, which replace the image's own."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables in addition to the image's own."""
    working_dir: str = ""
    """The working directory, which replaces the image's own."""
    volumes: dict[str, Path] = field(default_factory=dict)
    """Directories on the node, by their paths in the container."""
    read_only_volumes: frozenset[str] = frozenset()
    """The volumes that the container may not write to."""
    scratch: list[str] = field(default_factory=list)
    """The paths at which the container has empty directories in memory."""
    read_only: bool = True
    """Whether the root file system of the container is read-only."""
    user: int = 0
    privileged: bool = False
    dropped: frozenset[str] = frozenset()
    """The capabilities that the container lacks although it is privileged, such as CAP_SYS_PTRACE."""
    host_pid: bool = False
    """Whether the container sees the node's processes."""


class Pod:
    """A container of the image in its own namespaces, either privileged or without any capability or device.

    Args:
        image: The image that it runs.
        directory: An empty directory for its files.
        wanted: Its specification.
    """

    def __init__(self, image: Image, directory: Path, wanted: ContainerSpec) -> None:
        self._image = image
        self._directory = directory
        self._wanted = wanted
        self._name = f"dphub-{uuid.uuid4().hex[:12]}"
        self._runc = ["runc", f"--root={directory}/runc"]
        self._layer = directory / "layer"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the container."""
        self._mount_root()
        (self._directory / "config.json").write_text(json.dumps(self._specification()))
        with (self._directory / "output").open("wb") as output, (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", f"--bundle={self._directory}", self._name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
            )

    def signal(self, name: str) -> None:
        """Send a signal to the container's first process, as a container runtime does."""
        subprocess.run([*self._runc, "kill", self._name, name], check=True)

    async def ended(self, within: float) -> int:
        """Wait until the container has exited, and return its exit code."""
        process = self._process
        assert process is not None
        await wait_until(lambda: process.poll() is not None, "the end of the container", within)
        return process.returncode

    async def exec(self, *command: str) -> tuple[int, str]:
        """Run a command in the container, as `kubectl exec` does; return its exit code and its output."""
        # subprocess.run would block this process, which also runs the kubelet that a program in the pod may call.
        process = await asyncio.create_subprocess_exec(
            *(*self._runc, "exec", self._name, *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
        assert process.returncode is not None
        return process.returncode, said.decode()

    @property
    def output(self) -> str:
        """What the container has written to its standard output."""
        return (self._directory / "output").read_text()

    @property
    def log(self) -> str:
        """What the container has written to its standard error."""
        return (self._directory / "log").read_text()

    def processes(self) -> list[psutil.Process]:
        """Return the container's processes, beginning with the first."""
        state = subprocess.run([*self._runc, "state", self._name], capture_output=True, text=True, check=True)
        first = psutil.Process(json.loads(state.stdout)["pid"])
        return [first, *first.children(recursive=True)]

    def written(self) -> list[str]:
        """Return what the container has written to its root file system, except the mount points of its volumes."""
        mounts = [Path(at) for at, *_ in self._mounts()]
        expected = {path for at in mounts for path in (at, *at.parents)}
        upper = self._layer / "upper"
        found = {Path("/", path.relative_to(upper)) for path in upper.rglob("*")}
        return sorted(map(str, found - expected))

    def end(self) -> None:
        """Remove everything that the container has left, and show its output if the test fails."""
        if self._process and self._process.poll() is None:
            subprocess.run([*self._runc, "delete", "--force", self._name], check=False)
            self._process.wait(GRACE)
        for mounted in (self._directory / "rootfs", self._layer):
            if mounted.is_mount():
                subprocess.run(["umount", mounted], check=True)
        sys.stdout.write(self.log)
        shutil.rmtree(self._directory)

    def _mount_root(self) -> None:
        """Mount a writable layer over the image, in memory because not every file system can hold such a layer."""
        self._layer.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "layer", self._layer], check=True)
        upper, work, root = self._layer / "upper", self._layer / "work", self._directory / "rootfs"
        for directory in (upper, work, root):
            directory.mkdir()
        options = f"lowerdir={self._image.files},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)

    def _specification(self) -> dict[str, Any]:
        config, wanted = self._image.config, self._wanted
        # As in Kubernetes, a pod's command drops the image's arguments; a pod's arguments go to the image's command.
        command = wanted.command or config["Entrypoint"]
        args = wanted.args or ([] if wanted.command else config["Cmd"])
        capabilities = [name for name in _own_capabilities() if wanted.privileged and name not in wanted.dropped]
        # Without this, runc allows the devices that every container has, such as /dev/null.
        devices = [{"allow": True, "access": "rwm"}] if wanted.privileged else []
        return {
            "ociVersion": "1.0.0",
            "process": {
                "user": {"uid": wanted.user, "gid": wanted.user},
                "args": [*command, *args],
                "env": [*config["Env"], *(f"{name}={value}" for name, value in wanted.env.items())],
                "cwd": wanted.working_dir or config["WorkingDir"],
                "capabilities": dict.fromkeys(_SETS, capabilities),
                "noNewPrivileges": not wanted.privileged,
            },
            "root": {"path": "rootfs", "readonly": wanted.read_only},
            "hostname": "node",
            "mounts": [
                {"destination": at, "type": kind, "source": source, "options": options}
                for at, kind, source, options in self._mounts()
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in _NAMESPACES if kind != "pid" or not wanted.host_pid],
                "resources": {"devices": devices},
                "maskedPaths": [] if wanted.privileged else _MASKED,
                "readonlyPaths": [] if wanted.privileged else _READ_ONLY,
            },
        }

    def _mounts(self) -> Iterator[tuple[str, str, str, list[str]]]:
        wanted = self._wanted
        # A pod with the node's /dev or /sys has no mounts of its own there, nor below.
        yield from (mount for mount in _KERNEL if "/" + mount[0].split("/")[1] not in wanted.volumes)
        for at, directory in wanted.volumes.items():
            yield at, "bind", str(directory), ["rbind", "rprivate", "ro" if at in wanted.read_only_volumes else "rw"]
        for at in self._wanted.scratch:
            yield at, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777"]


def _own_capabilities() -> list[str]:
    """Return the most capabilities that this process can pass on: a test may itself run in a container."""
    status = Path("/proc/self/status").read_text()
    (bits,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return [f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES.split()) if bits >> bit & 1]


StartPod = Callable[[ContainerSpec], Pod]
"""A function that starts a pod, which is stopped with the test."""
