"""The control plane: etcd, the API server, the controllers and the scheduler."""

import json
import subprocess
from pathlib import Path

from tests.cluster import build
from tests.cluster.service import Service
from tests.cluster.settings import ADDRESS, API_SERVER, NODE

USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", "system:masters"),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "viewer": ("viewer", "admins"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}
"""The user and group of each program or role. The controllers create what pods need, so they may do anything here."""

_ETCD = "http://127.0.0.1:2379"


class ControlPlane:
    """The programs of a control plane, which all run on the node.

    Args:
        directory: Where its files are kept.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.programs = directory / "programs"
        self.programs.mkdir()
        for name in build.PROGRAMS:
            (self.programs / name).symlink_to(build.binary())
        self._write_credentials()
        self.stores = [self._etcd(), self._api_server()]
        self.controllers = [self._controllers(), self._scheduler()]
        """The programs that need the stores: they give up if they start before the API server answers."""

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig file with which a program calls the API server."""
        return self._directory / f"{user}.kubeconfig"

    def _write_credentials(self) -> None:
        lines = [f'{name}-token,{user},{name},"{group}"' for name, (user, group) in USERS.items()]
        (self._directory / "tokens.csv").write_text("\n".join(lines) + "\n")
        for name in USERS:
            self.kubeconfig(name).write_text(json.dumps(_kubeconfig(f"{name}-token")))
        key = self._directory / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], capture_output=True, check=True)

    def _etcd(self) -> Service:
        urls = [f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"]
        return self._service("etcd", f"--data-dir={self._directory}/etcd", "--unsafe-no-fsync", *urls)

    def _api_server(self) -> Service:
        key = self._directory / "service-accounts.key"
        return self._service(
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={ADDRESS}",
            "--service-cluster-ip-range=198.51.100.0/24",
            f"--cert-dir={self._directory}/certificates",
            f"--token-auth-file={self._directory}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            # No DNS server resolves the node's name.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
        )

    def _controllers(self) -> Service:
        return self._service(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            f"--service-account-private-key-file={self._directory}/service-accounts.key",
            f"--root-ca-file={self._directory}/certificates/apiserver.crt",
            "--leader-elect=false",
        )

    def _scheduler(self) -> Service:
        return self._service(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig('kube-scheduler')}", "--leader-elect=false"
        )

    def _service(self, name: str, *arguments: str) -> Service:
        return Service(name, [self.programs / name, *arguments])


def _kubeconfig(token: str) -> dict[str, object]:
    # The API server's certificate is self-signed.
    cluster = {"server": API_SERVER, "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
