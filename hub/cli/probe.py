#!/opt/dphub/bin/python -IS
"""Queries the hub over its own socket, for the kubelet's probes; in the image, the program `dphub-probe`.

A probe runs every few seconds, so it imports only what it needs, in an interpreter without site packages: it takes a
tenth of the CPU time of a `dphub` command. No client on the network can delay it.
"""

import os
import socket
import sys

LIMIT = 5.0
"""Seconds for a response, which takes milliseconds while the hub's event loop is running."""


def ask(path: str, url: str) -> tuple[int, str]:
    """Return the status code and the text of the hub's response.

    Args:
        path: The hub's socket.
        url: The path of the URL.

    Raises:
        OSError: the hub does not respond.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(path)
        client.sendall(f"GET {url} HTTP/1.0\r\n\r\n".encode())
        response = b""
        while part := client.recv(65536):
            response += part
    head, _, text = response.partition(b"\r\n\r\n")
    code = head.split(b" ", 2)[1:2]
    if not code:
        raise ConnectionError("no response")
    return int(code[0]), text.decode(errors="replace")


def main() -> int:
    """Print the response to the URL that was given; return 0 if it is a success."""
    path = f"{os.environ.get('DPHUB_RUN_DIR', '/run/dphub')}/{os.environ.get('DPHUB_INSTANCE', 'dphub')}.http"
    try:
        code, text = ask(path, sys.argv[1])
    except OSError as error:
        sys.stdout.write(f"the hub does not respond on {path}: {error}\n")
        return 1  # Exit.FAILED, which would have to be imported
    sys.stdout.write(text)
    return 0 if code == 200 else 1  # noqa: PLR2004 - HTTP's code for success


if __name__ == "__main__":
    sys.exit(main())
