"""The class that a plugin author derives from.

A plugin is one class with one required method, `devices`. It is synchronous and knows its hardware; the process around
it handles asyncio, gRPC and the kubelet. The options that the kubelet receives follow from the methods and attributes
that the plugin overrides.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from hub.api.device import Allocation, Device, Excluded, Unmatched
from hub.api.health import RecoveryPolicy, ResetRetryPolicy
from hub.api.host import Host
from hub.api.metrics import Metric
from hub.api.runtime import Runtime
from hub.api.settings import read_settings

MAX_RESET_TIMEOUT = 26.0
"""Maximum seconds that all resets of a container may take. The kubelet gives up after 30, and stopping the resets that
are still running takes up to 3."""


class NoDevices(Exception):
    """Raised by `Plugin.devices` when there is nothing to advertise.

    `Excluded` and `Unmatched` objects that it yielded before still count; devices are discarded.

    Args:
        reason: Why, for the administrator.
        fault: Whether the hardware exists but cannot be used. A node without such hardware is not a fault.
    """

    def __init__(self, reason: object = "", *, fault: bool = False) -> None:
        super().__init__(reason)
        self.fault = fault


class NeedsRestart(Exception):
    """Raised by `devices`, `prepare` or `watch` of a plugin, with the reason, when only a new process can continue.

    The devices become unhealthy for that reason and the process exits; the hub starts another one, with increasing
    delays if this happens repeatedly.
    """


class RequestRejected(Exception):
    """Raised by `Plugin.allocate`, with the reason, when a container may not have what it requests.

    The pod is at fault. Any other exception is the plugin's fault, and is reported if every allocation fails that way.
    """


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of a plugin's settings; used as is by plugins without settings.

    Attributes:
        list_key: The key that receives the list if the top level of the file is a list; empty if the top level must be
            a mapping.
    """

    list_key: ClassVar[str] = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read settings from a YAML or JSON file.

        Raises:
            hub.ConfigError: the file cannot be read, or contains a key or value that these settings do not allow.
        """
        return read_settings(path, cls)


class Plugin:
    """A device plugin: the devices on a node, and how containers use them.

    Attributes:
        resource: The resource of devices that do not set one. It is registered even while it has no devices.
        settings: The content of the plugin's configuration file. Annotate it with your own subclass of `Settings`, and
            the file is decoded into that.
        config_env: The environment variable that names the configuration file when no flag does.
        host: The node's file system.
        runtime: Where the plugin may keep files and locks; empty if there is no run directory.
        scan_interval: Seconds between calls to `devices`, unless an event requests one earlier. All plugins are called
            at the same times: above five seconds, it is rounded down to a multiple of five.
        scan_timeout: The time limit in seconds for a scan, that is, for `devices`, `prepare` and `labels` in total. If
            a scan exceeds it, all known devices are unhealthy.
        allocate_timeout: Seconds after which a call to `allocate` fails. The kubelet has no limit of its own, and
            does not admit any other pod while it waits.
        prefer_timeout: Seconds after which the kubelet chooses without the plugin's preference.
        reset: The function ("module:function") that makes a device ready for its next container, see
            `hub.ResetDevice`. It is called before each start of a container, in a separate process.
        reset_resources: The resources whose devices are reset; None for all.
        reset_clears_broken: The resources in which a successful reset makes a `broken` device healthy; None for all.
            In other resources such a device stays unhealthy until an administrator uncordons it.
        reset_when_released: Whether a device is also reset in the background once its claim has been released (dynamic
            resource allocation only). Until the reset has succeeded, no other claim gets the device. Useful if the
            reset takes a long time, or finds or removes something that should not wait for the next container.
        reset_timeout: Seconds for all resets of one container, at most 26: the kubelet gives up after 30, and stopping
            the resets that are still running takes up to 3.
        max_reset_failures: The number of failed resets in a row that makes a device unhealthy until a reset succeeds.
        recovery: When an unhealthy device becomes healthy again.
        reset_retry: When the reset of a broken device is retried.
        hint_kind: The kind of its devices, such as "gpu", if other plugins may choose devices that are close to those
            that a container has just got: see `hub.read_allocation_hint`.
        notes: What administrators should know about the settings, such as one that has no effect. The status, the log
            and `dphub check` show them.
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
    reset_when_released: bool = False
    reset_timeout: float = 25.0
    max_reset_failures: int = 3
    recovery: RecoveryPolicy = RecoveryPolicy()
    reset_retry: ResetRetryPolicy = ResetRetryPolicy()
    hint_kind: str = ""
    notes: Collection[str] = ()

    def __init__(
        self,
        settings: Any = None,  # noqa: ANN401 - see `settings`
        host: Host | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self.host = host or Host()
        self.runtime = Runtime() if runtime is None else runtime

    def resources(self) -> Iterable[str]:
        """Return the resources to register even while they have no devices."""
        return [self.resource] if self.resource else []

    def devices(self) -> Iterable[Device | Excluded | Unmatched]:
        """Yield all devices as they are now; a device that is missing counts as removed.

        Also yield the hardware that is excluded, and the settings that match nothing.

        Called at intervals, on SIGHUP, and after `watch` has called `changed`. It runs in its own thread, never twice
        at the same time. `dphub check --scan` calls it too, so it must change nothing on the node: that is for
        `prepare`.

        Raises:
            NoDevices: there is nothing to advertise.
            NeedsRestart: only a new process can find the devices.
        """
        raise NotImplementedError

    def prepare(self, devices: Sequence[Device]) -> Iterable[Device]:
        """Prepare the node for the devices that `devices` has just found, and return those to advertise.

        The place to write files for container runtimes, start daemons, and change settings of the hardware. Return a
        device for which that failed as unhealthy. It is called after each scan that did not fail, in the same thread
        and within `scan_timeout`, even if there are no devices; a check never calls it.

        Raises:
            NeedsRestart: only a new process can prepare the node.
        """
        return devices

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - for subclasses
        """Return labels for the node: facts that seldom change, such as the model of these devices, by label name.

        A name begins with a domain and a slash ("example.com/model"). Called after each scan that found no fault, in
        the same thread and within `scan_timeout`, if the hub writes labels; `dphub check --scan` calls it too, so it
        must change nothing. An invalid label is left out, and after an error the labels stay as they are.

        Args:
            devices: The devices to advertise.
        """
        return {}

    def watch(self, changed: Callable[[], None]) -> None:  # noqa: ARG002 - for subclasses
        """Wait for hardware events and call `changed` after each; may block forever, in its own thread.

        While it fails, the plugin's devices are unhealthy for that reason.
        """
        return

    def metrics(self) -> Iterable[Metric]:
        """Return the plugin's own metrics.

        Called every few seconds, in its own thread, never twice at the same time.
        """
        return ()

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """Return what a container gets for these devices. Answer from memory, without access to hardware."""
        return Allocation.merge(devices)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Return the best `size` of the available devices, including the required ones. Answer from memory.

        After an empty response, an error or a timeout, the kubelet makes its own choice.
        """
        raise NotImplementedError

    def reset_settings(self) -> object:
        """Return the settings for the reset function, anything that JSON can express, within two seconds."""
        return self.settings

    def reset_blocked(self, shares: Sequence[Device]) -> str:
        """Return why a physical device must not be reset now, or an empty string, within two seconds.

        The reset is skipped when this method fails, does not return, or returns something other than a string.

        Args:
            shares: All advertised devices that are shares of the physical device, in all resources.
        """
        return f"it is shared by {len(shares)} devices, and others may be in use" if len(shares) > 1 else ""

    def hardware(self) -> Iterable[str]:
        """Return descriptions of the node's hardware that this plugin supports, with or without a driver.

        Called by `dphub suggest`, with default settings. It must change nothing.
        """
        return ()

    def migrating(self) -> Iterable[str]:
        """Return what changes on a node that migrates from the plugin that the settings were written for.

        Called by `dphub check --migrating`. It may read the hardware, and must change nothing.
        """
        return ()


def resets(plugin: Plugin, resource: str) -> bool:
    """Return whether a plugin resets the devices of a resource."""
    return bool(plugin.reset) and (plugin.reset_resources is None or resource in plugin.reset_resources)


def overrides(plugin: Plugin, method: str) -> bool:
    """Return whether a plugin's class overrides a method of `Plugin`."""
    return getattr(type(plugin), method) is not getattr(Plugin, method)
