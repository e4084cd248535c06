"""Checks one plugin in a process of its own, and shows the result."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.interpreter import inherited_environment, own_python
from hub.base.wording import counted, did_you_mean
from hub.cli.render.live import show
from hub.cli.render.table import Column, Table
from hub.cli.render.text import echo, echo_json
from hub.model.check import CheckReport, FoundDevice
from hub.supervisor.check import run_check
from hub.supervisor.config.watchers import default_config, read_config, shipped_config


def target_of(name: str) -> str:
    """Return the class of a plugin, as MODULE:CLASS, from the name of its section in circus.ini or that class itself.

    Raises:
        HubError: there is no such section.
    """
    if ":" in name:
        return name
    plugins = [*read_config(shipped_config()), *read_config(default_config())]
    known = {plugin.name: plugin for plugin in plugins if plugin.target}
    if name not in known:
        raise HubError(f"there is no plugin {name}; the plugins are {', '.join(known)}{did_you_mean(name, known)}")
    target = known[name].target
    # A file is relative to the directory in which the hub would start the plugin.
    return str(Path(known[name].working_dir, target)) if ".py:" in target else target


def check_one_plugin(
    plugin: str, file: Path | None, host_root: Path | None, options: Sequence[str], *, as_json: bool
) -> int:
    """Check a plugin, print the result, and return the exit code.

    Args:
        plugin: The plugin's class, as MODULE:CLASS.
        file: Its configuration file, if it has one.
        host_root: The directory with the node's file system, if that is not /.
        options: More options for the check.
        as_json: Whether to print the result as JSON.
    """
    flags = [("--config", file), ("--host-root", host_root)]
    words = [str(word) for flag, value in flags if value for word in (flag, value)]
    command = own_python("hub.plugin", plugin, *words, "--check", *options)
    try:
        report = run_check(command, environment=inherited_environment())
    except HubError as error:
        report = CheckReport((f"{plugin}: {error}",))
    if as_json:
        echo_json(report)
    else:
        _print(report)
    if report.problems:
        return Exit.USAGE
    if not as_json:
        # A file is valid even if the node has none of its devices.
        unmatched = f", {counted(len(report.unmatched), 'setting')} without a match" if report.unmatched else ""
        echo(f"{file or plugin}: ok{unmatched}")
    return Exit.OK


def _print(report: CheckReport) -> None:
    if report.devices is not None:
        _print_devices(report.devices, report.reason)
    for difference in report.differences or ():
        echo(difference)
    if report.differences == ():
        echo("nothing changes")
    for each in report.excluded:
        echo(f"excluded: {each.id}: {each.reason}")
    for setting in report.unmatched:
        echo(str(setting))
    print_findings(report)


def print_findings(report: CheckReport, before: str = "", after: str = "") -> None:
    """Print the mistakes and warnings, each between the strings `before` and `after`."""
    for problem in report.problems:
        echo(f"{before}{problem}{after}", error=True)
    for warning in report.warnings:
        echo(f"{before}warning: {warning}{after}", error=True)


def _print_devices(devices: Sequence[FoundDevice], reason: str) -> None:
    if not devices:
        echo(f"no devices: {reason}" if reason else "no devices")
        return
    columns = Column("device"), Column("resource"), Column("health"), Column("NUMA"), Column("files", min_width=20)
    table = Table(*columns, Column("reason", below=True, label=""))
    for _, alike in groupby(devices, _shared):
        each, *others = alike
        name = f"{each.id} ... {others[-1].id} ({len(others) + 1})" if others else each.id
        health = "unhealthy" if each.unhealthy else "healthy"
        table.add(name, each.resource, health, ", ".join(map(str, each.numa)), ", ".join(each.files), each.unhealthy)
    show(lambda: table, watch=False)


def _shared(device: FoundDevice) -> object:
    """Return what the shares of a physical device have in common; there may be thousands."""
    name = device.physical or device.id
    return device.resource, name, device.physical, device.unhealthy, device.numa, device.files
