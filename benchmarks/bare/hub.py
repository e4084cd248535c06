"""A minimal hub: it keeps bare plugins running, and sends them SIGHUP when a kubelet starts.

python -m benchmarks.bare.hub RESOURCES --plugin-dir=DIR [options of `dphub run`, which it ignores]
"""

import argparse
import asyncio
import os
import signal
import subprocess
from pathlib import Path

import msgspec

from benchmarks.bare.libraries import HUB, load
from benchmarks.bare.resource import BareResource
from hub.base.interpreter import own_python
from hub.base.paths import KUBELET_SOCKET
from hub.base.prctl import set_death_signal

Process = subprocess.Popen[bytes]


def main() -> None:
    """Run until a signal arrives or the parent process exits."""
    set_death_signal(signal.SIGKILL)
    load(HUB)
    parser = argparse.ArgumentParser()
    parser.add_argument("resources")
    parser.add_argument("--plugin-dir", type=Path)
    options, _ = parser.parse_known_args()
    asyncio.run(_run(msgspec.json.decode(options.resources, type=list[BareResource]), options.plugin_dir))


async def _run(resources: list[BareResource], plugin_dir: Path) -> None:
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - `load` decides when it is imported

    running: dict[BareResource, Process] = {}

    def start_missing() -> None:
        for resource in resources:
            if resource not in running or running[resource].poll() is not None:
                running[resource] = start_plugin(resource, plugin_dir)

    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, start_missing)
    start_missing()
    with Inotify() as inotify:
        inotify.add_watch(plugin_dir, Mask.CREATE)
        async for event in inotify:
            if event.name == Path(KUBELET_SOCKET):
                for process in running.values():
                    process.send_signal(signal.SIGHUP)


def start_plugin(resource: BareResource, plugin_dir: Path) -> Process:
    """Start a bare plugin. It exits when this process does, because its standard input ends then."""
    command = own_python("benchmarks.bare.plugin", msgspec.json.encode(resource).decode(), str(plugin_dir))
    # As the hub does for its plugins.
    environment = {"MALLOC_ARENA_MAX": "1", **os.environ}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)


if __name__ == "__main__":
    main()
