"""The address on which the hub serves HTTP."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection

import psutil

from hub.base.exits import Exit
from hub.base.paths import RunDir
from hub.status.reader import Reader
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import (
    MakeHub,
    wait_until,
    watcher,
)


def dphub(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to completion."""
    return subprocess.run([sys.executable, "-m", "hub", *words], capture_output=True, text=True, check=False)


def test_nothing_listens_on_the_network(make_hub: MakeHub) -> None:
    """The hub has no TCP and no UDP socket, where circusd has four without authentication; HTTP can be switched off."""
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": "off"})
    hub.wait_plugins("a")
    assert hub.ask("status") == "a: active"
    assert psutil.Process(hub.pid).net_connections(kind="inet") == []


def test_http_on_every_address(make_hub: MakeHub) -> None:
    """A port alone means all addresses: a kubelet's probes use the pod's, people the loopback one."""
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": ":0"})
    hub.wait_plugins("a")
    reader = Reader(RunDir(hub.run_dir))
    http = wait_until(lambda: (report := reader.instance()) and report.hub.http, "the hub to listen")
    port = int(http.rpartition(":")[2])
    for address in {"127.0.0.1", socket.gethostbyname(socket.gethostname())}:
        with closing(HTTPConnection(address, port, timeout=WAIT_SECONDS)) as client:
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b"ok\n"
    asked = dphub("health", f"--run-dir={hub.run_dir}")
    assert (asked.returncode, asked.stdout) == (Exit.OK, "ok\n")
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait_for_exit()
    gone = dphub("health", f"--run-dir={hub.run_dir}")
    assert gone.returncode == Exit.USAGE
    assert "no hub is running in" in gone.stderr


def test_http_is_for_the_node_itself(make_hub: MakeHub) -> None:
    """By default the endpoints listen on the loopback interface only."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    (listening,) = wait_until(lambda: psutil.Process(hub.pid).net_connections(kind="inet"), "the hub to listen")
    assert (listening.laddr.ip, listening.status) == ("127.0.0.1", "LISTEN")


def test_an_address_that_is_taken(make_hub: MakeHub) -> None:
    """Plugins are served anyway, and the hub listens once it can; with an invalid address it does not start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": address})
        hub.wait_plugins("a")
        reason = f"cannot listen on {address}: Address already in use; choose another address with --http or DPHUB_HTTP"
        assert hub.wait_event("http listen failed")["reason"] == reason
        remedy = "stop the process that listens there, or choose another address with dphub run --http or DPHUB_HTTP"
        assert remedy in {problem.remedy for problem in Reader(RunDir(hub.run_dir)).status(running=True).problems}
    wait_until(lambda: Reader(RunDir(hub.run_dir)).status(running=True).hub.report.http == address, "the hub to listen")
    hub.stop()
    hub = make_hub(watcher("a")).start(env={"DPHUB_HTTP": "nowhere"})
    assert hub.wait_for_exit() == Exit.USAGE
    assert 'is "nowhere", expected HOST:PORT such as 127.0.0.1:9880, or off' in hub.text()
