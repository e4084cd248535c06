"""What a plugin author writes against.

A plugin is one class with one required method, `devices`. It is synchronous and knows its hardware; the process around
it owns asyncio, gRPC and the kubelet. What the kubelet is told about a plugin's abilities follows from what it
overrides.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from hub.api.device import Allocation, Device, Excluded
from hub.api.health import ProbePolicy, RecoveryPolicy
from hub.api.host import Host
from hub.api.metrics import Metric
from hub.api.runtime import Runtime
from hub.api.settings import read_settings

MAX_RESET_TIMEOUT = 26.0
"""Seconds that all resets of a container may take at most. The kubelet gives up after 30, and to end what has not ended
by then takes up to 3."""


class NoDevices(Exception):
    """Raised by `Plugin.devices` where there is nothing to advertise, with the reason for the administrator.

    Args:
        reason: Why.
        fault: Whether the hardware is there and cannot be used; a node without such hardware is no fault.
    """

    def __init__(self, reason: object = "", *, fault: bool = False) -> None:
        super().__init__(reason)
        self.fault = fault


class NeedsRestart(Exception):
    """Raised by `Plugin.devices` or `Plugin.watch` where only a new process can go on, with the reason.

    The devices become unhealthy for that reason and the process ends; the hub starts another, after a while if that
    happens again and again.
    """


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a plugin without any, and the base of those with some."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The settings that a YAML or JSON file holds.

        Raises:
            hub.ConfigError: the file cannot be read, or says something that these settings do not know.
        """
        return read_settings(path, cls)


class Plugin:
    """A device plugin: the devices of a node and what is particular about them.

    Attributes:
        resource: The resource that devices belong to when they name none, and which is served even without a device.
        settings: What the plugin's configuration file says. Annotate it with your own subclass of `Settings`, and the
            file is decoded into that.
        config_env: The environment variable that names the configuration file where no flag does.
        host: The node's file system.
        runtime: Where the plugin may keep files and locks; empty where there is no run directory.
        scan_interval: Seconds between two calls of `devices`, when nothing else asks for one.
        scan_timeout: Seconds after which a call of `devices` that has not ended makes the known devices unhealthy.
        allocate_timeout: Seconds after which a call of `allocate` fails. The kubelet sets no limit of its own, and
            admits no other pod while it waits.
        prefer_timeout: Seconds after which the kubelet is left to its own choice.
        reset: The function ("module:function") that makes a device ready for its next container, see `hub.reset`. It
            is called before each start of a container, in a process of its own.
        reset_resources: The resources whose devices are reset; None for all of them.
        reset_clears_broken: The resources in which a successful reset makes a `broken` device healthy; None for all.
            In other resources such a device waits for an administrator.
        reset_timeout: Seconds for all resets of one container, at most 26: the kubelet gives up after 30, and to end
            what has not ended by then takes up to 3.
        max_reset_failures: So many failed resets in a row make a device unhealthy, until one succeeds.
        recovery: How a device that was unhealthy comes back.
        probing: When devices that cannot be reset are tried again.
    """

    resource: str = ""
    settings: Settings
    config_env: ClassVar[str] = ""
    host: Host
    runtime: Runtime
    scan_interval: float = 10.0
    scan_timeout: float = 30.0
    allocate_timeout: float = 5.0
    prefer_timeout: float = 1.0
    reset: str = ""
    reset_resources: Collection[str] | None = None
    reset_clears_broken: Collection[str] | None = None
    reset_timeout: float = 25.0
    max_reset_failures: int = 3
    recovery: RecoveryPolicy = RecoveryPolicy()
    probing: ProbePolicy = ProbePolicy()

    def __init__(
        self,
        settings: Any = None,  # noqa: ANN401 - see `settings`
        host: Host | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self.host = host or Host()
        self.runtime = runtime or Runtime()

    def resources(self) -> Iterable[str]:
        """Resources to serve even while they have no device."""
        return [self.resource] if self.resource else []

    def devices(self) -> Iterable[Device | Excluded]:
        """The whole truth as of now; what is not in it is gone.

        Called on a period, on SIGHUP and when `watch` says so, never twice at once, in a thread of its own.

        Raises:
            NoDevices: there is nothing to advertise, and this is why.
            NeedsRestart: only a new process can find out.
        """
        raise NotImplementedError

    def watch(self, changed: Callable[[], None]) -> None:  # noqa: ARG002 - for those who override it
        """Wait for hardware events and call `changed` at each; may block for ever, in a thread of its own.

        While it fails, the plugin's devices are unhealthy for that reason.
        """
        return

    def metrics(self) -> Iterable[Metric]:
        """What the plugin counts and measures; asked every few seconds, never twice at once, in a thread of its own."""
        return ()

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """What a container gets for these devices. Answers from memory, touches no hardware."""
        return Allocation.merge(devices)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """The best `size` of the available devices, the required ones among them. Answers from memory.

        An empty answer, an error and an overrun all leave the choice to the kubelet.
        """
        raise NotImplementedError

    def reset_settings(self) -> object:
        """What the reset function gets as its settings; anything that JSON can say. Answers within two seconds."""
        return self.settings

    def reset_blocked(self, shares: Sequence[Device]) -> str:
        """Why a physical device must not be reset now; empty when it may be. Answers within two seconds.

        A reset is left out when this fails, does not answer, or answers something else than a text.

        Args:
            shares: All devices that are advertised of the physical one, in whatever resource.
        """
        return f"it is shared by {len(shares)} devices, and others may be in use" if len(shares) > 1 else ""


def resets(plugin: Plugin, resource: str) -> bool:
    """Whether a plugin has the devices of a resource reset."""
    return bool(plugin.reset) and (plugin.reset_resources is None or resource in plugin.reset_resources)


def overrides(plugin: Plugin, method: str) -> bool:
    """Whether a plugin brings an implementation of its own."""
    return getattr(type(plugin), method) is not getattr(Plugin, method)
