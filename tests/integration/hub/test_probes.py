"""The kubelet's probes, while clients on the network attack the hub's port."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from hub.base.exits import Exit
from hub.base.paths import RunDir
from hub.status.reader import Reader
from hub.supervisor.http.server import CONNECTIONS
from tests.harness.hub_process import HubProcess, MakeHub, wait_until, watcher
from tests.harness.project import PROJECT

PROBE = PROJECT / "hub" / "cli" / "probe.py"
ROUNDS = 5


def _probe(hub: HubProcess, path: str) -> subprocess.CompletedProcess[str]:
    """Run the program that the manifests' probes run, with the interpreter of this test."""
    return subprocess.run(
        ["/usr/bin/env", "python3", "-IS", str(PROBE), path],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(hub.run_dir)},
    )


def _port(hub: HubProcess) -> int:
    reader = Reader(RunDir(hub.run_dir))
    http = wait_until(lambda: (report := reader.instance()) and report.hub.http, "the hub to listen")
    return int(http.rpartition(":")[2])


@contextmanager
def _flood(port: int) -> Iterator[Mapping[str, int]]:
    """Connect, request and disconnect as fast as possible until the block ends; yield the number of connections."""
    counts = {"made": 0}
    stop = threading.Event()

    def attack() -> None:
        while not stop.is_set():
            with socket.socket() as client, suppress(OSError):
                client.settimeout(0.2)
                client.connect(("127.0.0.1", port))
                counts["made"] += 1
                client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for each in attackers:
        each.start()
    try:
        yield counts
    finally:
        stop.set()
        for each in attackers:
            each.join()


def test_probes_succeed_during_a_flood(make_hub: MakeHub) -> None:
    """Clients on the network cannot make a probe fail, and so cannot make the kubelet kill the hub."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    port = _port(hub)
    with _flood(port) as counts:
        wait_until(lambda: counts["made"] > 10 * CONNECTIONS, "a flood")
        for path, answer in [("/healthz", "ok\n"), ("/readyz", "a: external\n")] * ROUNDS:
            probe = _probe(hub, path)
            assert (probe.returncode, probe.stdout) == (Exit.OK, answer), probe


def test_probes_have_a_queue_of_their_own(make_hub: MakeHub) -> None:
    """A probe succeeds even if clients on the network cannot connect any more, and without any listening port."""
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": "off"})
    hub.wait_plugins("a")
    wait_until(lambda: _probe(hub, "/healthz").returncode == Exit.OK, "the socket")
    assert RunDir(hub.run_dir).http_socket.stat().st_mode & 0o777 == 0o600


def test_a_probe_of_a_hub_that_is_gone(make_hub: MakeHub) -> None:
    """The probe fails and prints a line with the reason, and so does a probe of a plugin that is not serving."""
    hub = make_hub(watcher("a", "cmd = /no/such/program\n")).start()
    # At first, the reason is that nothing answers, or that the plugin has not been started yet.
    reason = re.compile("a: .*no such file", re.IGNORECASE)
    failed = wait_until(lambda: probe if reason.match((probe := _probe(hub, "/readyz")).stdout) else None, "the reason")
    assert failed
    assert failed.returncode == Exit.FAILED
    hub.stop()
    gone = _probe(hub, "/healthz")
    assert (gone.returncode, gone.stdout.count("\n"), "does not respond" in gone.stdout) == (Exit.FAILED, 1, True)
