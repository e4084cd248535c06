"""`dphub check`: is the configuration right?"""

import os
import subprocess
import sys
from pathlib import Path

import click

from hub.cli.words import examples, failing_in_words
from hub.exits import Exit
from hub.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.supervisor.config import default_config, read_config
from hub.supervisor.settings import HubSettings
from hub.wording import counted

_PATH = click.Path(path_type=Path)


@click.command(epilog=examples("dphub check", "dphub check --plugin plugins.gpu:GPU gpu.yaml"))
@click.argument("file", type=_PATH, required=False)
@click.option("--plugin", metavar="MODULE:CLASS", help="FILE is the configuration of this plugin, not a circus.ini.")
@failing_in_words()
def check(file: Path | None, plugin: str | None) -> None:
    """Check a circus.ini and the configuration of every plugin in it, or the file of one plugin; start nothing.

    FILE is a circus.ini; by default the one that `dphub run` would take.
    """
    if plugin:
        sys.exit(_check_file(plugin, file))
    sys.exit(_check_hub(file or default_config()))


def _check_file(plugin: str, file: Path | None) -> int:
    options = ["--config", str(file)] if file else []
    command = [sys.executable, "-m", "hub.plugin", plugin, *options, "--check"]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - ourselves


def _check_hub(config: Path) -> int:
    from hub.supervisor.check import check_plugins  # noqa: PLC0415 - circus takes 0.1 s, which --help can do without

    settings = HubSettings(
        config.absolute(),
        Path(os.environ.get("DPHUB_PLUGIN_DIR", PLUGIN_DIR)),
        RunDir(Path(os.environ.get("DPHUB_RUN_DIR", RUN_DIR))),
    )
    plugins = read_config(settings.config)
    faults = check_plugins(plugins, settings)
    for plugin, fault in zip(plugins, faults, strict=True):
        note = "" if plugin.autostart else " (autostart is off)"
        click.echo(f"{plugin.name}: {fault or 'ok'}{note}", err=bool(fault))
    if any(faults):
        return Exit.USAGE
    click.echo(f"{config}: ok, {counted(len(plugins), 'plugin')}")
    return Exit.OK
