"""A node on which a hub runs the stub and the agent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.testing import Node, wait_until
from tests.harness.node import replace
from tests.simulators.apiserver import NODE, FakeApiServer, Object

STUB = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub --config stub.yaml\n"
AGENT = "[watcher:agent]\ncmd = python -m hub.agent --config agent.yaml --account {account}\n"
STUB_YAML = "resources:\n  - name: example.com/stub\n    devices: 4\n"

CONDITION = "StubDevicesHealthy"


class AgentNode(Node):
    """A node whose agent calls a fake API server.

    Args:
        directory: An empty directory.
        api: The API server.
    """

    def __init__(self, directory: Path, api: FakeApiServer) -> None:
        config = directory / "circus.ini"
        self.configuration = STUB + AGENT.format(account=api.account_dir)
        config.write_text(self.configuration)
        (directory / "stub.yaml").write_text(STUB_YAML)
        self.api = api
        self.configure("events: true\n")
        super().__init__(directory, config, {**api.environment, "DPHUB_NODE_NAME": NODE})

    @property
    def directory_of_files(self) -> Path:
        """The directory of circus.ini."""
        return self.api.account_dir.parents[1]

    def configure(self, text: str) -> None:
        """Write the agent's configuration file."""
        (self.directory_of_files / "agent.yaml").write_text(text)

    def faults(self, text: str) -> None:
        """Set the stub's faults; an empty text removes them."""
        replace(self.run_dir.path / "stub-faults.yaml", text)

    async def condition(self, status: str, kind: str = CONDITION) -> Object:
        """Wait until a condition of the node has this status, and return it."""
        return await self.wait(lambda: self._with_status(kind, status), f"{kind} {status}")

    def _with_status(self, kind: str, status: str) -> Object | None:
        found = self.api.conditions.get(kind)
        return found if found and found["status"] == status else None

    async def wait(self, find: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - whatever it finds
        """Wait until something is found, and return it."""
        try:
            return await wait_until(find, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; conditions: {self.api.conditions}, log:\n{self.text()}") from None

    def text(self) -> str:
        """Return what the hub, the stub and the agent have logged."""
        return self.log.read_text() if self.log.exists() else ""

    def logged(self, event: str) -> list[Object]:
        """Return the lines of the log with an event."""
        lines = (json.loads(line) for line in self.text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]
