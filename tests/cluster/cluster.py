"""A cluster of one node, and its user's access to it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import ClusterNode
from tests.cluster.service import Service
from tests.cluster.settings import NODE
from tests.cluster.waiting import WAIT_SECONDS, wait_until

Object = dict[str, Any]
"""An object of the API."""

_PROGRAMS = Path(sys.executable).parent
_PROXY_PORT = 8001


class Cluster:
    """A cluster of one node.

    Args:
        directory: Where its files are kept.
    """

    def __init__(self, directory: Path) -> None:
        self._control_plane = ControlPlane(directory)
        self._environment = {
            **os.environ,
            "KUBECONFIG": os.fspath(self._control_plane.kubeconfig("admin")),
            "HOME": os.fspath(directory),
            "PATH": os.pathsep.join([os.fspath(_PROGRAMS), os.environ["PATH"]]),
        }
        kubeconfig = f"--kubeconfig={self._control_plane.kubeconfig('admin')}"
        self._proxy = Service("proxy", [_PROGRAMS / "kubectl", kubeconfig, "proxy", f"--port={_PROXY_PORT}"])
        self.node = ClusterNode(directory, self._control_plane)
        self._services = [
            *(self._proxy, self.node.kubelet, self.node.containerd),
            *(*self._control_plane.controllers, *reversed(self._control_plane.stores)),
        ]

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig file that gives kubectl the permissions of a user."""
        return self._control_plane.kubeconfig(user)

    def start(self) -> None:
        """Start everything, and wait until the node is ready for pods."""
        for service in (*self._control_plane.stores, self._proxy):
            service.start()
        wait_until(lambda: self._running() and self.get("/version"), "a response from the API server")
        for service in self._control_plane.controllers:
            service.start()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_until(lambda: self._running() and self.get(account), "the default service account")
        self.node.import_images()
        self.node.start()
        wait_until(lambda: self._running() and self.is_ready(), "a ready node")

    def stop(self) -> None:
        """Stop everything."""
        self.node.power_off()
        for service in self._services:
            service.kill()

    def is_ready(self) -> bool:
        """Return whether the node accepts pods."""
        node = self.get(f"/api/v1/nodes/{NODE}")
        ready = node and any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]
        )
        return bool(ready and not node["spec"].get("taints"))

    def get(self, path: str) -> Object | None:
        """Return an object of the API; None if it does not exist or the API server does not answer."""
        try:
            return self.request("GET", path)
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except (urllib.error.URLError, OSError):
            return None

    def request(self, method: str, path: str, body: Object | None = None) -> Object:
        """Send a request to the API server, and return its response."""
        request = urllib.request.Request(f"http://127.0.0.1:{_PROXY_PORT}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:  # noqa: S310 - the address is above
            content: Object = json.load(answer)
        return content

    def run(self, command: str, directory: Path) -> str:
        """Run a command line as a user types it, and return its output."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=2 * WAIT_SECONDS,
        )
        assert done.returncode == 0, f"{command} exited with {done.returncode}: {done.stdout}"
        return done.stdout

    def _running(self) -> bool:
        for service in self._services:
            service.check()
        return True
