"""`dphub suggest`: which plugins support the hardware of a node."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import click

from hub.base.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.base.wording import first_of
from hub.cli.render.text import click_errors, echo, echo_json, examples
from hub.model.check import CheckReport
from hub.supervisor.config.watchers import PluginConfig, default_config, read_config, shipped_config
from hub.supervisor.settings import HubSettings

_SHOWN = 4


class _Plugin(NamedTuple):
    config: PluginConfig
    listed: bool
    """Whether the user's configuration lists the plugin, and not only the configuration that comes with the hub."""
    report: CheckReport

    @property
    def hardware(self) -> Sequence[str]:
        return self.report.hardware or ()

    @property
    def starts(self) -> bool:
        return self.listed and self.config.autostart


@click.command(epilog=examples("dphub suggest", "dphub suggest --json", "dphub suggest --load circus.ini"))
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@click.option("--load", is_flag=True, help="Also load the code of plugins in FILE that do not come with the hub.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each plugin.")
@click_errors()
def suggest(file: Path | None, *, load: bool, as_json: bool) -> None:
    """Show which plugins have hardware on this node, and how to start those that do not start with the hub.

    FILE is a circus.ini; by default the one that `dphub run` would use. The plugins that come with the hub are always
    listed. Each plugin looks for its hardware in the node's file system (DPHUB_HOST_ROOT), whether a driver is loaded
    or not, and changes nothing.
    """
    config = file or default_config()
    plugins = _asked(config, load=load)
    if as_json:
        for plugin in plugins:
            echo_json(_described(plugin), pretty=False)
    else:
        _print(config, plugins)


def _asked(config: Path, *, load: bool) -> list[_Plugin]:
    """Query every plugin for the hardware of the node that it supports."""
    from hub.supervisor.check import check_plugin  # noqa: PLC0415 - 0.1 s; --help does not need circus

    own = read_config(config)
    targets = {plugin.target for plugin in own}
    others = [plugin for plugin in read_config(shipped_config()) if plugin.target not in targets]
    run_dir = RunDir(Path(os.environ.get("DPHUB_RUN_DIR", RUN_DIR)))
    settings = HubSettings(config.absolute(), Path(os.environ.get("DPHUB_PLUGIN_DIR", PLUGIN_DIR)), run_dir)

    def ask(plugin: PluginConfig) -> _Plugin:
        return _Plugin(plugin, plugin in own, check_plugin(plugin, settings, load=load, hardware=True))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        return list(workers.map(ask, [*(plugin for plugin in own if plugin.target), *others]))


def _described(plugin: _Plugin) -> dict[str, object]:
    return {
        "plugin": plugin.config.name,
        "starts": plugin.starts,
        "hardware": plugin.hardware,
        "problems": plugin.report.problems,
        "loaded": plugin.report.loaded,
    }


def _print(config: Path, plugins: Sequence[_Plugin]) -> None:
    from hub.cli.render.live import show  # noqa: PLC0415 - JSON does not need the terminal library
    from hub.cli.render.table import Column, Table  # noqa: PLC0415 - as above

    hardware = Column("hardware", min_width=20)
    table = Table(Column("plugin"), Column("starts with the hub"), hardware, Column("", below=True))
    for plugin in sorted(plugins, key=lambda plugin: not plugin.hardware):
        table.add(plugin.config.name, _starts(plugin), _words(plugin), _advice(config, plugin))
    show(lambda: table, watch=False)
    if not any(_advice(config, plugin) for plugin in plugins):
        echo(f"Nothing to do: according to {config}, each plugin that has hardware on this node starts with the hub.")


def _starts(plugin: _Plugin) -> str:
    if plugin.starts:
        return "yes"
    return "no" if plugin.listed else "not in circus.ini"


def _words(plugin: _Plugin) -> str:
    if plugin.report.problems:
        return f"unknown: {'; '.join(plugin.report.problems)}"
    if not plugin.report.loaded:
        return "unknown: its code was not loaded; --load loads it"
    return first_of(plugin.hardware, _SHOWN) or "none"


def _advice(config: Path, plugin: _Plugin) -> str:
    """Say how to start a plugin that has hardware here; empty if it starts with the hub."""
    name = plugin.config.name
    if plugin.starts or not plugin.hardware:
        return ""
    if plugin.listed:
        return f"→ dphub start {name}; to start it with the hub, remove autostart = false from [watcher:{name}]"
    return f"→ add [watcher:{name}] to {config}, with cmd = {plugin.config.cmd}, then dphub reload"
