"""`python -m hub.plugin ... --check`: mistakes in a plugin and its file; with --scan, what it would advertise."""

import asyncio
import faulthandler
import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from os import fspath
from pathlib import Path

import msgspec

from hub.api.host import Host
from hub.api.plugin import Plugin
from hub.api.runtime import Runtime
from hub.base.calls import at_most
from hub.base.errors import HubError
from hub.base.failures import PluginError, explain, one_line
from hub.model.check import CHECKED_VARIABLES, CheckReport, FoundDevice
from hub.model.plugin import ExcludedDevice, UnmatchedSetting
from hub.plugin.deviceplugin.messages import encode_list
from hub.plugin.devices.devicelist import DeviceList, ScannedDevices
from hub.plugin.devices.scan import Scan, scan_in_time
from hub.plugin.devices.validation import validate_resource, validate_resource_name
from hub.plugin.health.store import DeviceHealth
from hub.plugin.loading import PluginMistakes, default_settings, is_shipped, load_plugin, make_plugin, settings_path

_SPARE = 10.0
"""Seconds beyond the time limit of a scan: a scan that takes longer must be blocking the interpreter, so the process
is ended."""

MAX_HARDWARE = 10_000
"""Maximum number of descriptions of hardware; a node has a few hundred devices."""


def check_plugin(
    target: str, config: Path | None, host: Host, *, with_devices: bool, migrating: bool = False
) -> CheckReport:
    """Create the plugin as its process would, and scan its devices once if requested."""
    try:
        plugin, warnings = _make(target, config, host)
    except PluginMistakes as mistakes:
        return CheckReport(mistakes.problems, mistakes.warnings)
    except (HubError, PluginError) as error:
        return CheckReport((str(error),))
    if migrating:
        return _differences(plugin, (*warnings, *map(str, plugin.notes)))
    if not with_devices:
        source = fspath(settings_path(type(plugin), config) or target)
        return CheckReport(tuple(_problems(plugin, source)), (*warnings, *map(str, plugin.notes)))
    scan = _scan(plugin)
    return CheckReport(
        (*_problems_of_reset(plugin), *_problems_of_scan(plugin, scan)),
        (
            *warnings,
            *map(str, plugin.notes),
            *(_about(name, each) for name, scanned in scan.resources.items() for each in scanned.warnings),
            *filter(None, [scan.labels.problem]),
        ),
        devices=tuple(_offered(scan)),
        excluded=tuple(ExcludedDevice(each.id, each.reason) for each in scan.excluded),
        unmatched=tuple(UnmatchedSetting(each.reason, each.resource) for each in scan.unmatched),
        reason="" if scan.fault else scan.reason,
    )


def check_shipped_plugin(target: str, config: Path | None, host: Host) -> CheckReport:
    """Check a plugin that comes with the hub, without a scan; do not load any other plugin.

    The variables of circus.ini are set once the plugin's code is loaded: see `hub.supervisor.check`.
    """
    if not is_shipped(target):
        return CheckReport(loaded=False)
    with suppress(HubError):  # the check reports it
        load_plugin(target)
    os.environ.update(msgspec.json.decode(os.environ.pop(CHECKED_VARIABLES, "{}"), type=dict[str, str]))
    return check_plugin(target, config, host, with_devices=False)


def find_hardware(target: str, host: Host, *, shipped_only: bool) -> CheckReport:
    """Query a plugin for the hardware on the node that it supports, whatever its settings are."""
    if shipped_only and not is_shipped(target):
        return CheckReport(loaded=False)
    try:
        kind = load_plugin(target)
        plugin = kind(default_settings(kind), host, Runtime(is_check=True))
        found = at_most(plugin.hardware(), MAX_HARDWARE, "descriptions")
    except HubError as error:
        return CheckReport((str(error),))
    except Exception as error:  # noqa: BLE001 - plugin code
        return CheckReport((explain(error),))
    return CheckReport(hardware=tuple(map(one_line, found)))


def _make(target: str, config: Path | None, host: Host) -> tuple[Plugin, tuple[str, ...]]:
    """Create a plugin; return it with the likely mistakes in its class.

    Raises:
        HubError: there is no such plugin, or it would certainly fail.
        PluginError: its constructor, which is plugin code, failed.
    """
    kind = load_plugin(target)
    try:
        return make_plugin(kind, config, host, Runtime(is_check=True))
    except HubError:
        raise
    except Exception as error:
        raise PluginError.of(error, kind) from error


def _differences(plugin: Plugin, warnings: tuple[str, ...]) -> CheckReport:
    try:
        return CheckReport((), warnings, differences=tuple(map(str, plugin.migrating())))
    except Exception as error:  # noqa: BLE001 - plugin code
        return CheckReport((str(PluginError.of(error, plugin.migrating)),), warnings)


def _problems(plugin: Plugin, source: str) -> Iterator[str]:
    yield from _problems_of_reset(plugin)
    try:
        names = list(plugin.resources())
    except Exception as error:  # noqa: BLE001 - plugin code
        yield str(PluginError.of(error, plugin.resources))
        return
    yield from (f"{source}: {problem}" for name in names if (problem := validate_resource_name(name)))


def _problems_of_reset(plugin: Plugin) -> Iterator[str]:
    """Yield a problem if the module of the reset cannot be imported, which a serving process never tries."""
    if plugin.reset:
        try:
            importlib.import_module(plugin.reset.partition(":")[0])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - plugin code
            yield f'reset is "{plugin.reset}": its module cannot be imported: {explain(error)}'


def _scan(plugin: Plugin) -> Scan:
    faulthandler.dump_traceback_later(plugin.scan_timeout + _SPARE, exit=True)
    scan = asyncio.run(scan_in_time(plugin))
    faulthandler.cancel_dump_traceback_later()
    return scan


def _problems_of_scan(plugin: Plugin, scan: Scan) -> Iterator[str]:
    if scan.fault:
        yield scan.reason
    for name, scanned in scan.resources.items():
        if problem := validate_resource(type(plugin), name):
            yield problem
        yield from (_about(name, each) for each in (*scanned.problems, *_omitted(scanned)))


def _omitted(scanned: ScannedDevices) -> Iterator[str]:
    health = dict.fromkeys(scanned.devices, DeviceHealth())
    if problem := encode_list(DeviceList(scanned.devices, health=health)).problem:
        yield problem


def _about(resource: str, text: str) -> str:
    """Return a message about devices with the name of their resource, if the plugin names one."""
    return f"{resource}: {text}" if resource else text


def _offered(scan: Scan) -> Iterator[FoundDevice]:
    for name, scanned in scan.resources.items():
        if validate_resource_name(name):
            continue
        for device in scanned.devices.values():
            paths = [node.host_path for node in device.nodes] + [mount.host_path for mount in device.mounts]
            fault, files = device.broken or device.unhealthy, tuple(fspath(path) for path in paths)
            yield FoundDevice(name, device.id, fault, tuple(device.numa), files, device.physical, dict(device.env))
