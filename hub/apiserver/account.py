"""The service account with which a process calls the API server: its token, and the server's certificate authority."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hub.base.errors import ConfigError
from hub.base.untrusted import read_text

if TYPE_CHECKING:
    import ssl

HOST_VARIABLE = "KUBERNETES_SERVICE_HOST"
PORT_VARIABLE = "KUBERNETES_SERVICE_PORT"


def add_account_option(parser: argparse.ArgumentParser, directory: Path) -> None:
    """Add the `--account` option to a command line.

    Args:
        parser: The command line.
        directory: The default: where the manifests mount the token of this process. It is not where client libraries
            look for one, so no other process finds it by mistake.
    """
    parser.add_argument("--account", type=Path, default=directory, help="the directory with the files token and ca.crt")


class Account:
    """A directory with the files `token` and `ca.crt`, which the kubelet keeps up to date.

    Args:
        directory: The directory.
        environment: Variables with the address of the API server, which each container has.

    Raises:
        ConfigError: the variables are missing.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._token = directory / "token"
        self._authority = directory / "ca.crt"
        self.host = environment.get(HOST_VARIABLE, "")
        port = environment.get(PORT_VARIABLE, "443")
        if not self.host:
            raise ConfigError(HOST_VARIABLE, "not set, expected the address of the API server, as in every pod")
        if not port.isascii() or not port.isdigit():
            raise ConfigError(PORT_VARIABLE, f'is "{port}", expected a port number')
        self.port = int(port)
        self._context: ssl.SSLContext | None = None
        self._version: tuple[int, int] | None = None

    def token(self) -> str:
        """Return the current token. The kubelet replaces the file long before the token expires.

        Raises:
            UnreadableError: the file cannot be read.
        """
        # The kubelet's files are links to those of the current version.
        return read_text(self._token, follow_links=True).strip()

    def context(self) -> "ssl.SSLContext":
        """Return the settings for TLS: the cluster's certificate authority must have issued the server's certificate.

        Raises:
            OSError: the file with the authority cannot be read.
        """
        import ssl  # noqa: PLC0415 - 4 MB, which a process that only loads this module does not need

        found = self._authority.stat()
        version = (found.st_ino, found.st_mtime_ns)
        if self._context is None or version != self._version:
            self._context = ssl.create_default_context(cafile=str(self._authority))
            # Python 3.13 made this flag the default, but many authorities lack the extensions that it requires.
            self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._version = version
        return self._context
