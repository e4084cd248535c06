"""`dphub run`: the hub itself."""

import sys
from pathlib import Path

import click

from hub.base.clibrary import skip_c_library_search
from hub.base.errors import ConfigError, HubError
from hub.base.exits import Exit
from hub.base.featurefiles import FEATURES_DIR, FEATURES_VARIABLE
from hub.base.imports import without_packages
from hub.base.instances import AlreadyRunningError
from hub.base.log import FORMAT_VARIABLE, LEVEL_VARIABLE, LogFormat, LogLevel
from hub.base.paths import INSTANCE, PLUGIN_DIR, RUN_DIR, RunDir
from hub.cli.render.text import echo, examples
from hub.supervisor.config.watchers import default_config
from hub.supervisor.forkserver import ForkServer
from hub.supervisor.settings import HubSettings

HTTP = "127.0.0.1:9880"
"""Where the hub listens by default: reachable from its own node only."""

_PATH = click.Path(path_type=Path, readable=False)
"""A path; an unreadable one is reported later, because access(2), which click uses, ignores capabilities."""


@click.command(epilog=examples("dphub run", "dphub run --run-dir node/run --plugin-dir node/device-plugins --http off"))
@click.option(
    "--config",
    type=_PATH,
    help="The file that lists the plugins.  [default: ./circus.ini if it exists, else the shipped file]",
)
@click.option(
    "--plugin-dir",
    type=_PATH,
    default=PLUGIN_DIR,
    envvar="DPHUB_PLUGIN_DIR",
    show_default=True,
    show_envvar=True,
    help="The kubelet's device plugin directory.",
)
@click.option(
    "--run-dir",
    type=_PATH,
    default=RUN_DIR,
    envvar="DPHUB_RUN_DIR",
    show_default=True,
    show_envvar=True,
    help="Where the hub and its plugins keep sockets, locks, status and logs.",
)
@click.option(
    "--features-dir",
    type=_PATH,
    envvar=FEATURES_VARIABLE,
    show_envvar=True,
    help="Where plugins write node labels, for Node Feature Discovery, which reads "
    f"{FEATURES_DIR}.  [default: none are written]",
)
@click.option(
    "--instance",
    default=INSTANCE,
    envvar="DPHUB_INSTANCE",
    show_default=True,
    show_envvar=True,
    help="This hub's name. During an upgrade two hubs with different names share a node.",
)
@click.option(
    "--log-level",
    type=click.Choice([level.value for level in LogLevel]),
    default=LogLevel.INFO.value,
    envvar=LEVEL_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="The minimum level to log.",
)
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.AUTO.value,
    envvar=FORMAT_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="The format of log lines; auto is text on a terminal and JSON elsewhere.",
)
@click.option(
    "--http",
    default=HTTP,
    envvar="DPHUB_HTTP",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT",
    help='Where to serve HTTP (/healthz, /readyz, /metrics, /status, /history and a page at /); "off" to disable it.',
)
@click.option(
    "--http-host",
    "http_hosts",
    multiple=True,
    envvar="DPHUB_HTTP_HOSTS",
    show_envvar=True,
    metavar="NAME",
    help="A DNS name by which clients may address the hub, such as that of a Service; may be repeated; in the "
    "variable, names are separated by spaces. IP addresses, localhost and the host's own name are always accepted.",
)
@click.option(
    "--service",
    is_flag=True,
    help="This hub runs as the node's systemd service: hubs in pods leave the devices to it while it runs. The unit "
    "that dphub install-service writes has this option.",
)
def run(
    *,
    config: Path | None,
    plugin_dir: Path,
    run_dir: Path,
    features_dir: Path | None,
    instance: str,
    log_level: str,
    log_format: str,
    http: str,
    http_hosts: tuple[str, ...],
    service: bool,
) -> None:
    """Run the hub: start all plugins, and keep them running and registered.

    It runs until SIGTERM or SIGINT, or until its terminal is closed. Root is not needed if you choose your own
    directories, as in the second example.
    """
    skip_c_library_search()
    settings = HubSettings(
        config=(config or default_config()).absolute(),
        plugin_dir=plugin_dir.absolute(),
        run_dir=RunDir(run_dir.absolute(), instance),
        log_level=LogLevel(log_level),
        log_format=LogFormat(log_format),
        http="" if http == "off" else http,
        http_hosts=http_hosts,
        is_service=service,
        features_dir=features_dir.absolute() if features_dir else None,
    )
    try:
        # The fork server and the hub load their modules at the same time.
        with ForkServer(settings.environment("", {})) as fork_server:
            # circus loads YAML, 2 MB, for a kind of log configuration that the hub does not use.
            with without_packages("yaml"):
                from hub.supervisor.hub import run_hub  # noqa: PLC0415 - 0.1 s; --help does not need circus
            sys.exit(run_hub(settings, fork_server))
    except HubError as error:
        echo(f"dphub run: {error}", error=True)
        sys.exit(_exit_code(error))


def _exit_code(error: HubError) -> Exit:
    if isinstance(error, ConfigError):
        return Exit.USAGE
    return Exit.ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else Exit.FAILED
