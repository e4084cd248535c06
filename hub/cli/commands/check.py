"""`dphub check`: checks the configuration, and whether a plugin would work.

A file to check may come from anywhere, so checking it does not run anything that it names, unless a flag requests it.
"""

import os
import sys
from pathlib import Path

import click

from hub.base.exits import Exit
from hub.base.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.base.wording import counted
from hub.cli.plugincheck import check_one_plugin, print_findings
from hub.cli.render.text import click_errors, echo, examples
from hub.supervisor.config.watchers import default_config, read_config
from hub.supervisor.settings import HubSettings

_PATH = click.Path(path_type=Path, readable=False)
"""As in `run`."""

_NVIDIA = "plugins.gpu:GPU"
"""The plugin that reads the configuration file of NVIDIA's device plugin."""


@click.command(
    epilog=examples(
        "dphub check",
        "dphub check --load circus.ini",
        "dphub check --plugin plugins.gpu:GPU gpu.yaml",
        "dphub check --plugin plugins.stub:Stub --scan",
        "dphub check --migrating nvidia-config.yaml",
    )
)
@click.argument("file", type=_PATH, required=False)
@click.option(
    "--load", is_flag=True, help="Also load the code of plugins in FILE that do not come with the hub, and check it."
)
@click.option(
    "--plugin",
    metavar="MODULE:CLASS",
    help="Load this plugin's code and check it; FILE is its configuration, not a circus.ini.",
)
@click.option(
    "--migrating",
    is_flag=True,
    help="FILE is the configuration file of NVIDIA's device plugin: list what changes when the hub uses it.",
)
@click.option(
    "--scan",
    is_flag=True,
    help="Also look for devices once, and list what the plugin would advertise; nothing on the node changes.",
)
@click.option("--json", "as_json", is_flag=True, help="With --plugin or --migrating: print the result as JSON.")
@click.option(
    "--host-root",
    type=_PATH,
    help="With --plugin: the directory with the node's file system.",
    envvar="DPHUB_HOST_ROOT",
)
@click_errors()
def check(
    file: Path | None,
    plugin: str | None,
    *,
    load: bool,
    migrating: bool,
    scan: bool,
    as_json: bool,
    host_root: Path | None,
) -> None:
    """Check a circus.ini and every plugin in it, or one plugin and its configuration, without starting anything.

    FILE is a circus.ini; by default the one that `dphub run` would use. Nothing that it names is run, and of the
    plugins in it only those that come with the hub are loaded. The code of a plugin can do anything once it is loaded:
    use --load and --plugin only for code that you trust.

    With --migrating, FILE is the configuration file of NVIDIA's device plugin. It means the same to the hub, except for
    keys that NVIDIA's plugin accepts and ignores. Run this on a node with GPUs to see the number of devices before and
    after.
    """
    if migrating:
        if load or scan or plugin:
            raise click.UsageError("--migrating cannot be combined with --load, --plugin or --scan")
        if file is None:
            raise click.UsageError("--migrating needs FILE, the configuration file of NVIDIA's device plugin")
        sys.exit(check_one_plugin(_NVIDIA, file, host_root, ["--migrating"], as_json=as_json))
    if plugin:
        if load:
            raise click.UsageError("--plugin loads the plugin anyway, so --load is for a circus.ini only")
        sys.exit(check_one_plugin(plugin, file, host_root, ["--scan"] if scan else [], as_json=as_json))
    if scan or as_json:
        raise click.UsageError("--scan needs --plugin MODULE:CLASS; --json needs that or --migrating")
    sys.exit(_check_hub(file or default_config(), load=load))


def _check_hub(config: Path, *, load: bool) -> int:
    from hub.supervisor.check import check_plugins  # noqa: PLC0415 - 0.1 s; --help does not need circus

    settings = HubSettings(
        config.absolute(),
        Path(os.environ.get("DPHUB_PLUGIN_DIR", PLUGIN_DIR)),
        RunDir(Path(os.environ.get("DPHUB_RUN_DIR", RUN_DIR))),
    )
    plugins = read_config(settings.config)
    reports = check_plugins(plugins, settings, load=load)
    for plugin, report in zip(plugins, reports, strict=True):
        notes = [] if plugin.autostart else ["autostart = false"]
        if not report.loaded:
            notes.append("its code was not loaded; --load loads and checks it")
        note = f" ({', '.join(notes)})" if notes else ""
        print_findings(report, f"{plugin.name}: ", note)
        if not report.problems:
            echo(f"{plugin.name}: ok{note}")
    if any(report.problems for report in reports):
        return Exit.USAGE
    echo(f"{config}: ok, {counted(len(plugins), 'plugin')}")
    return Exit.OK
