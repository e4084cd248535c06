"""Commands to a running hub, over the socket that circusctl uses too."""

from typing import Any

from circus.client import CircusClient
from circus.exc import CallError

from hub.errors import HubError
from hub.paths import RunDir
from hub.supervisor.changes import Changes

LIMIT = 60.0
"""Seconds for an answer: a plugin may take its whole grace time to stop, and then some to be killed."""


class HubClient:
    """Tells one hub what to do.

    Args:
        run_dir: Its run directory.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir

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

    def reload(self) -> Changes:
        """Read circus.ini anew."""
        answer = self._send("reloadconfig")
        return {"removed": answer["removed"], "changed": answer["changed"], "added": answer["added"]}

    def refuse(self, problem: str) -> None:
        """Have the hub remember why a configuration was not loaded."""
        self._send("refuse", problem=problem)

    def _send(self, command: str, **properties: str) -> dict[str, Any]:
        client = CircusClient(endpoint=f"ipc://{self._run_dir.control}", timeout=LIMIT)
        try:
            answer: dict[str, Any] = client.send_message(command, waiting=True, **properties)
        except CallError:
            raise HubError(f"the hub has not answered within {LIMIT:g} s on {self._run_dir.control}") from None
        finally:
            client.stop()
        if answer.get("status") != "ok":
            raise HubError(str(answer.get("reason") or answer))
        return answer
