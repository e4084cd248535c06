"""The table of a kubelet's connections to plugins: which are affected when a stream ends or a connection fails."""

from typing import Protocol

from hub.testing.kubelet.client import PluginClient


class Clients(Protocol):
    """The connections by resource."""

    def add(self, resource: str, client: PluginClient) -> None:
        """Add a connection that is about to be made."""

    def failed(self, resource: str, client: PluginClient) -> None:
        """Remove a connection that could not be made, and others that count as the same."""

    def ended(self, resource: str, client: PluginClient) -> PluginClient | None:
        """Remove the connection that counts as the one whose stream has ended, and return it if there is one."""


class ClientsByName:
    """The table up to Kubernetes 1.36: only the latest connection of each resource.

    The end or failure of an earlier connection removes the latest one.
    """

    def __init__(self) -> None:
        self._clients: dict[str, PluginClient] = {}

    def add(self, resource: str, client: PluginClient) -> None:
        """Replace the resource's connection."""
        self._clients[resource] = client

    def failed(self, resource: str, client: PluginClient) -> None:
        """Remove the resource's connection; an earlier one does not come back."""
        del client
        self._clients.pop(resource, None)

    def ended(self, resource: str, client: PluginClient) -> PluginClient | None:
        """Remove and return the resource's connection, which may belong to another plugin."""
        del client
        return self._clients.pop(resource, None)


class ClientsBySocket:
    """The table since Kubernetes 1.37: several connections per resource. Those to one socket count as the same."""

    def __init__(self) -> None:
        self._clients: dict[str, list[PluginClient]] = {}

    def add(self, resource: str, client: PluginClient) -> None:
        """Add a connection."""
        self._clients.setdefault(resource, []).append(client)

    def failed(self, resource: str, client: PluginClient) -> None:
        """Remove all connections to the socket."""
        kept = [each for each in self._clients.get(resource, ()) if each.socket != client.socket]
        self._clients[resource] = kept

    def ended(self, resource: str, client: PluginClient) -> PluginClient | None:
        """Remove all connections to the socket, and return the oldest."""
        oldest = next((each for each in self._clients.get(resource, ()) if each.socket == client.socket), None)
        self.failed(resource, client)
        return oldest
