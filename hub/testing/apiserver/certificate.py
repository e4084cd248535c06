"""The certificate of the fake API server, which is its own authority."""

import shutil
import subprocess
from pathlib import Path

from hub.base.errors import HubError

_REQUEST = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=fake-api-server"


def make_certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """Create a certificate for an IP address, and return the paths of the certificate and of its key.

    Raises:
        HubError: the program `openssl` is missing, or fails.
    """
    program = shutil.which("openssl")
    if program is None:
        raise HubError("no program `openssl` found, which makes the certificate of the fake API server: install it")
    certificate, key = directory / "server.crt", directory / "server.key"
    files = ["-keyout", str(key), "-out", str(certificate)]
    words = [*_REQUEST.split(), "-addext", f"subjectAltName=IP:{address}", *files]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise HubError(f"openssl failed, expected a certificate in {directory}: {done.stderr.strip()[-500:]}")
    return certificate, key
