"""A stand-in for kubectl: `kubectl proxy` in front of a stand-in for the API server, and `kubectl exec`.

`install` creates a program `kubectl` that reads its scenario from a file next to it, and logs its arguments.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import msgspec

from tests.simulators.podproxy import HUGE, Answer, ApiServer, Scenario, read

ROOT = Path(__file__).parents[2]


class StandIn:
    """An installed stand-in.

    Args:
        directory: The directory of the program, for PATH.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._scenario = directory / "scenario.json"
        self._calls = directory / "calls"

    def set(self, scenario: Scenario) -> None:
        """Replace the scenario."""
        self._scenario.write_bytes(msgspec.json.encode(scenario))

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call."""
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []

    @property
    def exec_calls(self) -> list[list[str]]:
        """The commands that were run in pods, each with its pod."""
        found = [call[call.index("exec") + 1 :] for call in self.calls if "exec" in call]
        return [[call[0], *call[call.index("--") + 1 :]] for call in found]


def install(directory: Path, scenario: Scenario) -> StandIn:
    """Install the stand-in in a directory."""
    command = shlex.join([sys.executable, "-m", "tests.simulators.kubectl", str(directory)])
    program = directory / "kubectl"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} "$@"\n')
    program.chmod(0o755)
    installed = StandIn(directory)
    installed.set(scenario)
    return installed


def main(directory: Path, words: list[str]) -> int:
    """Run a command as kubectl does."""
    with (directory / "calls").open("a") as calls:
        calls.write(f"{json.dumps(words)}\n")
    scenario = directory / "scenario.json"
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    if "proxy" in words:
        return _proxy(scenario, options)
    pod, command = words[words.index("exec") + 1], words[words.index("--") + 1 :]
    return _exec(read(scenario).execs.get(f"{pod} {' '.join(command[1:])}", Answer("no such pod", 1)))


def _proxy(path: Path, options: dict[str, str]) -> int:
    if error := read(path).proxy_error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    asyncio.run(_serve(ApiServer(path), options))
    return 0


async def _serve(server: ApiServer, options: dict[str, str]) -> None:
    accepted = re.compile(options["--accept-paths"])
    rejected = re.compile(options["--reject-methods"])
    directory = Path(options["--unix-socket"]).parent
    assert directory.stat().st_mode & 0o777 == 0o700, "other users could use the proxy"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, url, _ = head.decode().split("\r\n")[0].split()
        if rejected.search(method) or not accepted.search(url.partition("?")[0]):
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\nForbidden")
            writer.close()
            return
        whole = asyncio.StreamReader()
        whole.feed_data(head)
        whole.feed_eof()
        await server.serve(whole, writer)

    listening = await asyncio.start_unix_server(serve, options["--unix-socket"], backlog=1000)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listening.close)
    print(f"Starting to serve on {options['--unix-socket']}", flush=True)  # noqa: T201 - as kubectl does
    try:
        await listening.serve_forever()
    except asyncio.CancelledError:
        os._exit(0)


def _exec(answer: Answer) -> int:
    time.sleep(3600 if answer.mode == "hang" else answer.delay)
    if answer.mode == "huge":
        os.write(1, b" " * HUGE)
    (sys.stderr if answer.code else sys.stdout).write(answer.body)
    return answer.code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
