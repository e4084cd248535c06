"""The topics that `dphub help TOPIC` explains in addition to commands."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import click

from hub.base.exits import Exit
from hub.base.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.cli.commands.run import run

Row = tuple[str, str]

BY_THE_HUB = "a plugin; the hub sets it"

VARIABLES = {
    "DPHUB_NODE_NAME": ("`dphub run`", "The node's name in the status and on the page; by default the host's name."),
    "DPHUB_HOST_ROOT": ("a plugin", "The directory with the node's file system, if not `/`."),
    "DPHUB_NODE_NET": (
        "the IB plugin",
        "The directory with the node's network tables; in a pod `/proc/1/net`, since `/proc/net` is the pod's own.",
    ),
    "DPHUB_PLUGIN": (BY_THE_HUB, "The plugin's name."),
    "DPHUB_WATCHDOG": (
        BY_THE_HUB,
        "Seconds without a heartbeat after which the plugin is killed; 0 disables the watchdog.",
    ),
    "DPHUB_DRA_DRIVER": (BY_THE_HUB, "The name of the plugin's DRA driver; not set with the device plugin API."),
    "DPHUB_DRA_EVICT": (
        BY_THE_HUB,
        "Whether pods are evicted from devices that fail, `true` or `false`; only with DRA.",
    ),
    "CONFIG_FILE": ("the GPU plugin", "The plugin's configuration file, if there is no `--config`."),
    "DP_DISABLE_HEALTHCHECKS": ("the GPU plugin", "`all`, `xids`, or XIDs to ignore, such as `13,31`."),
    "DP_ENABLE_HEALTHCHECKS": (
        "the GPU plugin",
        "`all`, or XIDs not to ignore, in the same form; it takes precedence.",
    ),
    "LD_LIBRARY_PATH": (
        "the GPU plugin",
        "Where NVIDIA's programs look for libraries before they look under the driver root.",
    ),
}
"""Variables without a flag of `dphub run`, with their readers and meanings."""

_COMMAND_EXITS = {
    Exit.OK: "Success. For dphub status: nothing needs to be fixed.",
    Exit.FAILED: """The command failed, or its output could not be written. For dphub status: something needs to be
        fixed. For dphub devices and dphub history: the hub is not running, and the last known state was shown.""",
    Exit.USAGE: """Nothing was done: a flag or a file is invalid, there is no such plugin, device or hub, the hub is not
        running, or the plugin does not answer.""",
}
"""The exit codes of all commands except `dphub run`."""


class Topic(NamedTuple):
    """A topic of the help."""

    summary: str
    sections: Callable[[], Iterable[tuple[str, Iterable[Row]]]]
    """Its tables, each with an introduction."""


def _files() -> Iterable[tuple[str, Iterable[Row]]]:
    run_dir = RunDir(RUN_DIR, "INSTANCE")
    in_run_dir = {
        run_dir.hub_report: "the hub, its configuration and its plugins' processes, as JSON",
        run_dir.hub_log: "the hub's latest log lines (dphub logs)",
        run_dir.lock: "locked while the hub is running",
        run_dir.circus_socket: "the socket for commands to the hub, including those from circusctl",
        run_dir.report(
            "PLUGIN"
        ): "a plugin's resources, devices and resets, and the containers that use the devices, as JSON",
        run_dir.log("PLUGIN"): "a plugin's latest log lines (dphub logs PLUGIN)",
        run_dir.stack("PLUGIN"): "the stacks of a plugin's threads when it hung or crashed",
        run_dir.admin_socket("PLUGIN"): "the socket for cordon, uncordon, reset and log-level",
        run_dir.health("PLUGIN"): "cordons, and why devices are not healthy; kept across restarts",
        run_dir.history("PLUGIN"): "which containers used a plugin's devices; kept across restarts (dphub history)",
    }
    yield (
        f"The run directory is {RUN_DIR}, unless --run-dir or DPHUB_RUN_DIR names another. INSTANCE is the hub's name.",
        [(str(path.relative_to(RUN_DIR)), text) for path, text in in_run_dir.items()],
    )
    yield (
        f"The kubelet's device plugin directory is {PLUGIN_DIR}, unless --plugin-dir or DPHUB_PLUGIN_DIR is set.",
        [
            ("kubelet.sock", "the kubelet's socket, where plugins register"),
            ("INSTANCE-RESOURCE.sock", "a plugin's socket, one for each resource"),
        ],
    )
    yield (
        "The configuration is the file that dphub run --config names, or ./circus.ini, or the file shipped with dphub.",
        [("circus.ini", "the plugins to run; each can have a configuration file of its own")],
    )


def _environment() -> Iterable[tuple[str, Iterable[Row]]]:
    options = [option for option in run.params if isinstance(option, click.Option) and option.envvar]
    rows = [(str(option.envvar), f"Same as {option.opts[0]}. {option.help}") for option in options]
    yield "A flag takes precedence over its variable. The hub passes its variables to its plugins.", rows
    others = [(name, f"{meaning} Read by {reader}.") for name, (reader, meaning) in VARIABLES.items()]
    yield "Variables without a flag:", [(name, text.replace("`", "")) for name, text in others]


def _exit_codes() -> Iterable[tuple[str, Iterable[Row]]]:
    yield "For dphub run and plugin processes:", [(str(code.value), code.meaning) for code in Exit]
    yield (
        "For all other commands:",
        [(str(code.value), " ".join(text.split())) for code, text in _COMMAND_EXITS.items()],
    )


def _device_health() -> Iterable[tuple[str, Iterable[Row]]]:
    yield (
        "The kubelet assigns only healthy devices to new pods. dphub status lists the others, with the reason.",
        [
            ("healthy", "can be allocated"),
            ("recovering", "becomes healthy if it keeps working for a while, or if the reset in progress succeeds"),
            ("unhealthy", "cannot be allocated; most become healthy again when the fault is gone"),
            ("cordoned", "unhealthy because an administrator cordoned it → dphub uncordon DEVICE"),
            ("reported by", "unhealthy because another program reports it, in a file in the run directory's external/"),
        ],
    )
    yield (
        "These faults persist across restarts:",
        [
            ("broken", "a permanent error → repair it, then dphub uncordon DEVICE, unless a reset fixes it"),
            ("flapping", "it failed and recovered too often → find the cause, then dphub uncordon DEVICE"),
            ("reset failed", "retried while no container uses it → dphub reset DEVICE retries it now"),
        ],
    )


TOPICS = {
    "files": Topic("Where the hub keeps its status, logs and sockets.", _files),
    "environment": Topic("Variables that dphub and its plugins read.", _environment),
    "exit-codes": Topic("What the exit codes of commands mean.", _exit_codes),
    "device-health": Topic("When a device can be allocated, and what to do if it cannot.", _device_health),
}


def write_topic(name: str, formatter: click.HelpFormatter) -> None:
    """Write a topic in the format of a command's help."""
    for text, rows in TOPICS[name].sections():
        if formatter.getvalue():
            formatter.write_paragraph()
        formatter.write_text(text)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_dl([*rows])
