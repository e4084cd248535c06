"""Commands to a running hub, over the socket that circusctl uses too."""

import time
from collections.abc import Callable
from typing import Any

import zmq
from circus import client as circus_client
from circus.exc import CallError

from hub.base.errors import HubError
from hub.base.paths import RunDir
from hub.supervisor.circus.changes import ReloadResult

LIMIT = 60.0
"""Seconds for an answer: a plugin may take its whole grace time to stop, and then some to be killed."""

LOOK = 1000
"""Milliseconds between two looks at the hub that is to answer."""


class CircusClient:
    """Tells one hub what to do.

    Args:
        run_dir: Its run directory.
        look: Raises where there is no answer to wait for, such as for a hub that shows no life.
    """

    def __init__(self, run_dir: RunDir, look: Callable[[], object]) -> None:
        self._run_dir = run_dir
        self._look = look

    def start(self, plugin: str) -> None:
        """Start a plugin.

        Raises:
            HubError: the hub refuses, or does not answer; so with all others.
        """
        self._send("start", name=plugin)

    def stop(self, plugin: str) -> None:
        """Stop a plugin, until somebody starts it."""
        self._send("stop", name=plugin)

    def restart(self, plugin: str) -> None:
        """Stop a plugin and start it."""
        self._send("restart", name=plugin)

    def reload(self) -> ReloadResult:
        """Read circus.ini anew."""
        answer = self._send("reloadconfig")
        return {"removed": answer["removed"], "changed": answer["changed"], "added": answer["added"]}

    def reject_config(self, problem: str) -> None:
        """Have the hub remember why a configuration was not loaded."""
        self._send("refuse", problem=problem)

    def _send(self, command: str, **properties: str) -> dict[str, Any]:
        client = circus_client.CircusClient(endpoint=f"ipc://{self._run_dir.circus_socket}", timeout=LIMIT)
        client.poller = _Poller(client.poller, self._look)
        try:
            answer: dict[str, Any] = client.send_message(command, waiting=True, **properties)
        except CallError:
            raise HubError(f"the hub has not answered within {LIMIT:g} s on {self._run_dir.circus_socket}") from None
        finally:
            client.stop()
        if answer.get("status") != "ok":
            raise HubError(str(answer.get("reason") or answer))
        return answer


class _Poller:
    """Stands for the poller of a CircusClient, which would wait for a dead hub as for one that is busy.

    Args:
        poller: The poller.
        look: Raises where there is nothing to wait for.
    """

    def __init__(self, poller: zmq.Poller, look: Callable[[], object]) -> None:
        self._poller = poller
        self._look = look

    def poll(self, milliseconds: float) -> list[tuple[Any, int]]:
        """What has arrived within this time; called by circus."""
        end = time.monotonic() + milliseconds / 1000
        while not (found := self._poller.poll(LOOK)) and time.monotonic() < end:
            self._look()
        return found
