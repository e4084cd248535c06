"""`dphub install-service` and `dphub uninstall-service`: the hub as a service that starts before the kubelet."""

from pathlib import Path

import click

from hub.base.errors import ConfigError, HubError
from hub.base.jsonfile import replace_bytes
from hub.base.paths import PLUGIN_DIR, RUN_DIR
from hub.base.untrusted import UnreadableError, read_text
from hub.cli.render.text import click_errors, echo, examples
from hub.cli.systemd.kubelets import find_kubelet
from hub.cli.systemd.prerequisites import check_configuration, check_systemd, own_program
from hub.cli.systemd.systemctl import Systemctl
from hub.cli.systemd.unit import MARK, UNIT, Unit

CONFIG = Path("/etc/dphub/circus.ini")
"""The default configuration of the service."""

UNIT_DIR = Path("etc/systemd/system")

_PATH = click.Path(path_type=Path, readable=False)

_root_option = click.option(
    "--root",
    type=_PATH,
    default="/",
    show_default=True,
    help="The file system in which the service is installed, such as that of an image; nothing is started there.",
)


@click.command(
    epilog=examples(
        "dphub install-service --dry-run",
        "dphub install-service --now",
        "dphub install-service --kubelet-unit k3s-agent",
    )
)
@click.option(
    "--kubelet-unit",
    metavar="UNIT",
    help="The kubelet's unit.  [default: whichever of kubelet, k3s, k3s-agent, rke2-server, rke2-agent, "
    "snap.microk8s.daemon-kubelite, k0scontroller and k0sworker exists]",
)
@click.option("--config", type=_PATH, default=CONFIG, show_default=True, help="The file that lists the plugins.")
@click.option(
    "--plugin-dir", type=_PATH, default=PLUGIN_DIR, show_default=True, help="The kubelet's device plugin directory."
)
@click.option(
    "--run-dir",
    type=_PATH,
    default=RUN_DIR,
    show_default=True,
    help="The run directory: the same as for the hubs in pods, which then leave the devices to the service.",
)
@_root_option
@click.option("--now", is_flag=True, help="Also start the service, or restart it if it is running.")
@click.option("--dry-run", is_flag=True, help="Only print the unit file.")
@click_errors()
def install_service(
    *, kubelet_unit: str | None, config: Path, plugin_dir: Path, run_dir: Path, root: Path, now: bool, dry_run: bool
) -> None:
    """Install the hub as a systemd service that starts before the kubelet.

    After a reboot, pods with devices then start again instead of failing. The unit starts this program, where it is
    installed now, with the settings in /etc/dphub/environment if that file exists. To upgrade the service, upgrade this
    program and run the command again. Hubs in pods on the node serve no devices while the service runs.
    """
    root = root.absolute()
    if now and root != Path("/"):
        raise click.UsageError("--now cannot be combined with --root: nothing runs there")
    if not dry_run:
        check_systemd(root)
    kubelet = find_kubelet(root, kubelet_unit)
    check_configuration(root, config.absolute())
    program = own_program(root)
    unit = Unit(kubelet, program, config.absolute(), plugin_dir.absolute(), run_dir.absolute())
    if dry_run:
        echo(unit.text)
    else:
        _install(unit, root, now=now)


def _install(unit: Unit, root: Path, *, now: bool) -> None:
    path = root / UNIT_DIR / UNIT
    systemctl = Systemctl(root)
    _write(path, unit.text)
    systemctl.reload()
    # An earlier version of the unit may belong to another kubelet's unit; the link from there must be removed.
    systemctl.run("reenable", UNIT)
    echo(f"{path}: written; the service starts before {unit.kubelet.unit}")
    if now:
        systemctl.run("restart", UNIT)
        echo("the service is running; dphub status shows what it is doing")
    elif root == Path("/"):
        echo(f"start it, or restart it after an upgrade, with: systemctl restart {UNIT}")


@click.command(
    epilog=examples(
        "dphub uninstall-service", "dphub uninstall-service --root /mnt/image   # in an image that is being built"
    )
)
@_root_option
@click_errors()
def uninstall_service(*, root: Path) -> None:
    """Stop the service and remove its unit file. Its configuration and the run directory stay.

    Hubs in pods on the node then take over its devices. Without them, new pods get no devices.
    """
    root = root.absolute()
    check_systemd(root)
    path = root / UNIT_DIR / UNIT
    if not path.exists():
        echo(f"{path}: no such file; there is nothing to remove")
        return
    _check_own(path)
    systemctl = Systemctl(root)
    systemctl.run("disable", *(["--now"] if root == Path("/") else []), UNIT)
    path.unlink()
    systemctl.reload()
    echo(f"{path}: removed")


def _write(path: Path, text: str) -> None:
    """Write the unit file, or replace one of a different version.

    Raises:
        HubError: another program or an administrator has written the existing one.
    """
    if path.exists():
        _check_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, text.encode(), mode=0o644)


def _check_own(path: Path) -> None:
    try:
        is_own = read_text(path).startswith(MARK)
    except UnreadableError as error:
        raise HubError(f"{path}: {error.problem}") from None
    if not is_own:
        raise ConfigError(path, "not written by dphub install-service; remove it first, or rename it")
