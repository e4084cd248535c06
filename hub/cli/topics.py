"""What `dphub help TOPIC` explains besides commands."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import click

from hub.base.exits import Exit
from hub.base.paths import PLUGIN_DIR, RUN_DIR, RunDir
from hub.cli.commands.run import run

Row = tuple[str, str]

BY_THE_HUB = "a plugin; the hub sets it"

VARIABLES = {
    "DPHUB_NODE_NAME": ("`dphub run`", "The node's name, for its status and its page; by default the host's name."),
    "DPHUB_HOST_ROOT": ("a plugin", "Where it finds the node's file system, if not at `/`."),
    "DPHUB_NODE_NET": (
        "the IB plugin",
        "The directory of the kernel's network tables of the node; in a pod `/proc/1/net`, as `/proc/net` is its own.",
    ),
    "DPHUB_PLUGIN": (BY_THE_HUB, "Its name."),
    "DPHUB_WATCHDOG": (BY_THE_HUB, "Seconds without a sign of life after which it is killed; 0 for never."),
    "CONFIG_FILE": ("the GPU plugin", "Its configuration file, where there is no `--config`."),
    "RESOURCE_PREFIX": ("the GPU plugin", "The domain of resources whose name in gpu.yaml has none; `nvidia.com`."),
    "DP_DISABLE_HEALTHCHECKS": ("the GPU plugin", "`all`, `xids`, or XIDs that mean nothing, such as `13,31`."),
    "DP_ENABLE_HEALTHCHECKS": ("the GPU plugin", "The same of what means something all the same; it wins."),
    "LD_LIBRARY_PATH": ("the GPU plugin", "Where NVIDIA's programs find libraries, before the driver root's."),
}
"""Variables that no flag of `dphub run` has, with their readers and meanings."""

_OF_COMMANDS = {
    Exit.OK: "Done. From dphub status: nothing is wrong.",
    Exit.FAILED: """The command failed, or its output could not be written. From dphub status: something is wrong.
        From dphub devices: the hub is not running, and the last known state was shown.""",
    Exit.USAGE: """Nothing was done: a flag or a file is wrong, there is no such plugin, device or hub, the hub is not
        running, or the plugin does not answer.""",
}
"""The exit codes of all commands but `dphub run`."""


class Topic(NamedTuple):
    """Something to read about."""

    summary: str
    sections: Callable[[], Iterable[tuple[str, Iterable[Row]]]]
    """Its tables, each with the sentence before it."""


def _files() -> Iterable[tuple[str, Iterable[Row]]]:
    run_dir = RunDir(RUN_DIR, "INSTANCE")
    in_run_dir = {
        run_dir.hub_report: "the hub, its configuration and its plugins' processes, as JSON",
        run_dir.hub_log: "the hub's latest log lines (dphub logs)",
        run_dir.lock: "locked while the hub runs",
        run_dir.circus_socket: "the socket for commands to the hub, also for circusctl",
        run_dir.report("PLUGIN"): "a plugin's resources, devices, resets and holders, as JSON",
        run_dir.log("PLUGIN"): "a plugin's latest log lines (dphub logs PLUGIN)",
        run_dir.stack("PLUGIN"): "where a plugin's threads were when it hung or crashed",
        run_dir.admin_socket("PLUGIN"): "the socket for cordon, uncordon, reset and log-level",
        run_dir.health("PLUGIN"): "cordons, and why devices are not healthy; kept across restarts",
    }
    yield (
        f"The run directory is {RUN_DIR}, or what --run-dir or DPHUB_RUN_DIR names. INSTANCE is the hub's name.",
        [(str(path.relative_to(RUN_DIR)), text) for path, text in in_run_dir.items()],
    )
    yield (
        f"The kubelet's plugin directory is {PLUGIN_DIR}, or what --plugin-dir or DPHUB_PLUGIN_DIR names.",
        [
            ("kubelet.sock", "the kubelet's socket, where plugins register"),
            ("INSTANCE-RESOURCE.sock", "a plugin's socket, one for each resource"),
        ],
    )
    yield (
        "The configuration is what dphub run --config names, or ./circus.ini, or the file that comes with dphub.",
        [("circus.ini", "the plugins to run; each may have a configuration file of its own")],
    )


def _environment() -> Iterable[tuple[str, Iterable[Row]]]:
    options = [option for option in run.params if isinstance(option, click.Option) and option.envvar]
    rows = [(str(option.envvar), f"As {option.opts[0]}: {option.help}") for option in options]
    yield "A flag takes precedence over its variable. The hub passes its variables on to its plugins.", rows
    others = [(name, f"{meaning} Read by {reader}.") for name, (reader, meaning) in VARIABLES.items()]
    yield "Without a flag:", [(name, text.replace("`", "")) for name, text in others]


def _exit_codes() -> Iterable[tuple[str, Iterable[Row]]]:
    yield "Of dphub run and of plugin processes:", [(str(code.value), code.meaning) for code in Exit]
    yield "Of all other commands:", [(str(code.value), " ".join(text.split())) for code, text in _OF_COMMANDS.items()]


def _device_health() -> Iterable[tuple[str, Iterable[Row]]]:
    yield (
        "The kubelet gives only healthy devices to new pods. dphub status names the others, with the reason.",
        [
            ("healthy", "can be allocated"),
            ("recovering", "works again, and becomes healthy if it stays so for a while"),
            ("unhealthy", "cannot be allocated; most become healthy by themselves when the reason is gone"),
            ("cordoned", "unhealthy because an administrator said so → dphub uncordon DEVICE"),
        ],
    )
    yield (
        "Some wait for an administrator, also across restarts:",
        [
            ("broken", "an error that does not go away by itself → repair it, then dphub uncordon DEVICE"),
            ("flapping", "it failed and recovered too often → find the cause, then dphub uncordon DEVICE"),
            ("reset failed", "→ dphub reset DEVICE, when no container uses it"),
        ],
    )


TOPICS = {
    "files": Topic("Where the hub keeps state, logs and sockets.", _files),
    "environment": Topic("Variables that dphub and its plugins read.", _environment),
    "exit-codes": Topic("What a command says by its exit code.", _exit_codes),
    "device-health": Topic("When a device can be allocated, and what to do if not.", _device_health),
}


def write_topic(name: str, formatter: click.HelpFormatter) -> None:
    """Write a topic as click writes a command's help."""
    for text, rows in TOPICS[name].sections():
        if formatter.getvalue():
            formatter.write_paragraph()
        formatter.write_text(text)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_dl([*rows])
