"""Boots of a node on which pods with devices were running, and how many of these pods fail.

At a boot, the hub, the kubelet and the run directory are gone; the kubelet's checkpoint and the pods that are bound to
the node are still there. In every other boot, the dead sockets of the kubelet and the plugins are left, too. Then the
service starts and is ready, and the kubelet follows. Without the service, the kubelet starts first, and the hub follows
once the kubelet has admitted the bound pods.

    python -m tests.harness.boots --kubelet 1.37 --count 50

A kubelet admits its pods some time after it has started its device manager; `gap` is a model of that time, and
`--gap` sets it instead. tests/cluster/test_service.py boots a node with a full kubelet.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from hub.base.interpreter import own_python
from hub.cli.systemd.kubelets import KUBELETS
from hub.cli.systemd.unit import Unit
from hub.testing.kubelet import FakeKubelet, Pod
from hub.testing.node import Node
from hub.testing.plugin import environment_without_hub
from tests.harness.kubelet_option import FAKE, choose
from tests.harness.kubelet_option import KUBELETS as VERSIONS
from tests.harness.realkubelet import RealKubeletProcess
from tests.harness.systemd import Service

NAMES = ("red", "green", "blue")
DEVICES = 4
PODS = 4
"""The number of pods, which hold all devices of the node, one of each resource per pod."""

GRACE = 25
"""Seconds given to a plugin for stopping, fewer than the 40 that the unit gives the hub."""

LIMIT = 120.0
"""Seconds after which a resource counts as lost."""

_LINES = 60
"""How many lines of the hub's log the error shows if a resource is lost."""

_START = (0.03, 3.0)
"""Seconds from the start of the sync loop until the start of the device manager, in which the kubelet queries its
runtime, cAdvisor and cgroups. A full kubelet needed 0.03 to 0.08 s on two CPUs, and up to 1.5 s while twenty other
programs used them; the maximum is a guess."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between the sync loop's checks of whether the kubelet is ready; they double (kubelet.go, syncLoop). Of the
parts that must be ready, the device manager starts last."""

_SOURCE = 1.0
"""Seconds from the start of the sync loop until there are pods from the API server: the kubelet has not seen its node
there at its first check, and checks again after this time (config/apiserver.go)."""


def gap(dice: random.Random) -> float:
    """Return the seconds from the start of a device manager until its kubelet admits pods (1.34 to 1.37).

    Most kubelets start fast, a few slowly: the logarithm of the time until the start is uniformly distributed.
    """
    least, most = _START
    started = least * (most / least) ** dice.random()
    look, pause = 0.0, _FIRST_PAUSE
    while look < started:
        look += pause
        pause = min(2 * pause, _LONGEST_PAUSE)
    return max(look, _SOURCE) - started


@dataclass
class Boots:
    """The outcome of a number of boots."""

    failed: list[str] = field(default_factory=list)
    """The kubelet's reason for each pod that failed."""
    ready: list[float] = field(default_factory=list)
    """Seconds until the hub was ready, for which the kubelet waits."""
    known: list[float] = field(default_factory=list)
    """Seconds from the start of the device manager until it knew the devices of all resources."""
    gaps: list[float] = field(default_factory=list)
    """Seconds from that start until the pods were admitted."""


class BootedNode(Node):
    """A node with three plugins, which boots.

    Args:
        directory: The directory for all files.
        kubelet: The node's kubelet.
    """

    def __init__(self, directory: Path, kubelet: FakeKubelet) -> None:
        super().__init__(directory, kubelet=kubelet)
        self._circus_ini = directory / "circus.ini"
        self._circus_ini.write_text("".join(_sections(directory)))
        unit = Unit(KUBELETS[0], tuple(own_python("hub")), self._circus_ini, self.plugin_dir, self.run_dir.path)
        self.service = Service(
            unit.text, self.log, environment=environment_without_hub() | {"DPHUB_HTTP": "off"}, abstract=False
        )
        self.boots = Boots()

    def use_config(self) -> None:
        """Make hubs that are not the service start with the configuration of the service."""
        self._config = self._circus_ini

    def power_off(self) -> None:
        """Lose all processes and all files that a node keeps in memory; every other time, lose dead sockets, too."""
        self.service.kill()
        shutil.rmtree(self.run_dir.path)
        for path in self.plugin_dir.iterdir():
            if path.is_socket() and self.kubelet.starts % 2:
                path.unlink()

    async def boot(self, seconds: float | None, *, service: bool) -> None:
        """Boot the node once.

        Args:
            seconds: How long after the start of its device manager the kubelet admits its pods; None: once it
                knows all devices, or, without the service, at once.
            service: Whether the service starts before the kubelet.
        """
        bound = list(self.kubelet.pods.values())
        await self.kubelet.crash()
        self.power_off()
        if service:
            self.boots.ready.append(await asyncio.to_thread(self.service.start))
        await self.kubelet.start()
        began = time.monotonic()
        known = asyncio.create_task(self._all_known(began))
        if seconds is not None:
            await asyncio.sleep(seconds)
        elif service:
            await known
        self.boots.gaps.append(time.monotonic() - began)
        failed = [pod for pod in bound if await self._fails(pod)]
        if not service:
            await asyncio.to_thread(self.service.start)
        await known
        # The pods' controllers create others in their place.
        for pod in failed:
            await self.kubelet.remove(pod)
            await self._create(pod.name)

    async def fill(self) -> None:
        """Start the service and the pods."""
        await asyncio.to_thread(self.service.start)
        await self._all_known(time.monotonic())
        self.boots.known.clear()
        for number in range(PODS):
            await self._create(f"pod-{number}")

    async def _create(self, name: str) -> None:
        await self.kubelet.admit(name, {f"example.com/{each}": 1 for each in NAMES})

    async def _all_known(self, began: float) -> None:
        for name in NAMES:
            try:
                await self.kubelet.wait_for(f"example.com/{name}", DEVICES, LIMIT)
            except TimeoutError as error:
                lines = self.log.read_text().splitlines()[-_LINES:]
                raise AssertionError("\n".join([str(error), *lines])) from None
        self.boots.known.append(time.monotonic() - began)

    async def _fails(self, pod: Pod) -> bool:
        process = self.kubelet._process
        if isinstance(process, RealKubeletProcess):
            reason = await process.admission.admit_again(pod)
        else:
            # The fake kubelet does not admit pods again. A real one checks this first.
            found = self.kubelet.capacity()
            lost = [name for name in NAMES if not found[f"example.com/{name}"].allocatable]
            reason = f"no healthy devices present: {', '.join(lost)}" if lost else ""
        if reason:
            self.boots.failed.append(reason)
        return bool(reason)


def _sections(directory: Path) -> Iterator[str]:
    for name in NAMES:
        settings = directory / f"{name}.yaml"
        settings.write_text(f"resources:\n  - name: example.com/{name}\n    devices: {DEVICES}\n")
        yield f"[watcher:{name}]\ncmd = python -m hub.plugin plugins.stub:Stub --config {settings}\n"
        # With less time, a plugin may be killed on a busy machine before it has handed over.
        yield f"graceful_timeout = {GRACE}\n"


@asynccontextmanager
async def booted_node() -> AsyncIterator[BootedNode]:
    """Run a node with pods that hold all of its devices."""
    directory = Path(tempfile.mkdtemp(prefix="boot", dir="/tmp"))
    try:
        node = BootedNode(directory, FakeKubelet(directory / "device-plugins"))
        try:
            async with node:
                await node.fill()
                yield node
        finally:
            node.service.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _boot_often(count: int, seed: int, *, service: bool, fixed_gap: float | None = None) -> Boots:
    """Boot a node a number of times."""
    dice = random.Random(seed)  # noqa: S311 - for repeatable choices
    async with booted_node() as node:
        for _ in range(count):
            await node.boot(gap(dice) if fixed_gap is None else fixed_gap, service=service)
        return node.boots


def report(order: str, found: Boots) -> str:
    """Return a line of figures."""
    times = {"hub ready": found.ready, "devices known": found.known, "pods admitted": found.gaps}
    texts = [
        f"{what} after {median(each):.3f} s (least {min(each):.3f}, most {max(each):.3f})"
        for what, each in times.items()
        if each
    ]
    return f"{order}: {len(found.failed)} of {len(found.gaps) * PODS} pods failed; {'; '.join(texts)}"


def main(words: Sequence[str] | None = None) -> None:
    """Run from the command line, and exit with 1 if a pod failed although the service was running."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.boots", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="boots in each order")
    parser.add_argument("--kubelet", choices=VERSIONS, default=FAKE, help="the kubelet of the node")
    parser.add_argument("--order", choices=("service", "daemonset", "both"), default="both", help="what starts first")
    parser.add_argument(
        "--gap", type=float, help="seconds until the kubelet admits pods; by default, as a complete kubelet"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="default: a random seed")  # noqa: S311 - not a secret
    options = parser.parse_args(words)
    choose(options.kubelet)
    sys.stdout.write(f"kubelet: {options.kubelet}, {options.count} boots in each order, seed {options.seed}\n")
    lost = False
    for order in ("service", "daemonset"):
        if options.order in {order, "both"}:
            is_service = order == "service"
            found = asyncio.run(_boot_often(options.count, options.seed, service=is_service, fixed_gap=options.gap))
            sys.stdout.write(f"{report(order, found)}\n")
            lost = lost or (is_service and bool(found.failed))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
