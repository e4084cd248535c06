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
"""Seconds to wait for a response: a plugin may take its whole graceful timeout to stop, and then be killed."""

HUB_CHECK_INTERVAL = 1000
"""Milliseconds between checks that the hub is still running."""


class CircusClient:
    """Sends commands to one hub.

    Args:
        run_dir: The hub's run directory.
        check: Raises an error if there is no response to wait for, for example because the hub is unresponsive.
    """

    def __init__(self, run_dir: RunDir, check: Callable[[], object]) -> None:
        self._run_dir = run_dir
        self._check = check

    def start(self, plugin: str) -> None:
        """Start a plugin.

        Raises:
            HubError: the hub rejects the command, or does not respond; the other methods raise it too.
        """
        self._send("start", name=plugin)

    def stop(self, plugin: str) -> None:
        """Stop a plugin until it is started again."""
        self._send("stop", name=plugin)

    def restart(self, plugin: str) -> None:
        """Stop a plugin and start it."""
        self._send("restart", name=plugin)

    def reload(self) -> ReloadResult:
        """Reload circus.ini."""
        answer = self._send("reloadconfig")
        return {"removed": answer["removed"], "changed": answer["changed"], "added": answer["added"]}

    def reject_config(self, problem: str) -> None:
        """Have the hub record why a configuration was not loaded."""
        self._send("rejectconfig", problem=problem)

    def _send(self, command: str, **properties: str) -> dict[str, Any]:
        client = circus_client.CircusClient(endpoint=f"ipc://{self._run_dir.circus_socket}", timeout=LIMIT)
        client.poller = _Poller(client.poller, self._check)
        try:
            answer: dict[str, Any] = client.send_message(command, waiting=True, **properties)
        except CallError:
            raise HubError(f"the hub did not respond within {LIMIT:g} s on {self._run_dir.circus_socket}") from None
        finally:
            client.stop()
        if answer.get("status") != "ok":
            raise HubError(str(answer.get("reason") or answer))
        return answer


class _Poller:
    """Replaces the poller of a CircusClient, which cannot distinguish an exited hub from a busy one.

    Args:
        poller: The original poller.
        check: Raises an error if there is nothing to wait for.
    """

    def __init__(self, poller: zmq.Poller, check: Callable[[], object]) -> None:
        self._poller = poller
        self._check = check

    def poll(self, milliseconds: float) -> list[tuple[Any, int]]:
        """Return the sockets with a message, after at most this time; called by circus."""
        end = time.monotonic() + milliseconds / 1000
        while not (found := self._poller.poll(HUB_CHECK_INTERVAL)) and time.monotonic() < end:
            self._check()
        return found
