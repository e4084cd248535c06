"""The startup taint: removed once the devices of the node can be allocated."""

from collections.abc import Iterable

from hub.agent.node import NodeObject
from hub.agent.objects import Node
from hub.agent.settings import AgentSettings
from hub.apiserver.attempts import Attempts
from hub.apiserver.client import JSON_PATCH, ApiClient
from hub.base.changecount import ChangeCounter
from hub.base.log import get_logger
from hub.model.node import Condition, NodeStatus, PluginStatus
from hub.model.plugin import RegistrationStatus, ResourceStatus
from hub.status.view import View

_SETTLED = {Condition.REGISTERED, Condition.FAILING, Condition.EXTERNAL}
"""Conditions of a plugin whose resources are all registered."""


class StartupTaint:
    """Removes the taint, once.

    Args:
        settings: Its key, and the resources to wait for.
        client: Calls the API server.
        node: The node.
        view: What the hub knows.
        changes: When to check again; a change in the node's status counts, too.
    """

    def __init__(
        self, settings: AgentSettings, client: ApiClient, node: NodeObject, view: View, changes: ChangeCounter
    ) -> None:
        self._settings = settings
        self._client = client
        self._node = node
        self._view = view
        self._changes = changes
        self._is_done = False
        self._log = get_logger()

    async def run(self) -> None:
        """Wait for the devices, remove the taint, and do nothing from then on, until cancelled."""
        await Attempts("startup taint").after_each(self._changes, self.look)

    async def look(self) -> None:
        """Remove the taint if the devices can be allocated now.

        Raises:
            ApiError: the API server did not accept it, for example because another program has changed the taints.
        """
        status = self._view.status
        if self._is_done or status is None:
            return
        expected = expected_resources(status, self._settings.startup_resources)
        if expected is None:
            return
        node = await self._node.read()
        taints = node.spec.taints or ()
        found = [index for index, taint in enumerate(taints) if taint.get("key") == self._settings.startup_taint]
        if not found:
            self._is_done = True
        elif all(_is_shown(node, resource) for resource in expected):
            (index, *others) = found
            path = f"/spec/taints/{index}"
            # If the taints have changed since, the test fails, and with it the patch.
            patch = [{"op": "test", "path": path, "value": taints[index]}, {"op": "remove", "path": path}]
            await self._client.patch(self._node.path, patch, JSON_PATCH)
            self._log.info("startup taint removed", taint=self._settings.startup_taint)
            # The node may have several taints with this key, each with a different effect.
            self._is_done = not others
            if others:
                self._changes.bump()


def expected_resources(status: NodeStatus, names: Iterable[str]) -> list[ResourceStatus] | None:
    """Return the resources that have to be allocatable; None if one of them is not registered yet.

    Args:
        status: The status.
        names: The resources to wait for; if there are none, those of all plugins that start with the hub.
    """
    registered = {
        resource.name: resource
        for plugin in status.plugins
        for resource in plugin.report.resources
        if resource.registration is RegistrationStatus.REGISTERED
    }
    wanted = list(names)
    if wanted:
        return [registered[name] for name in wanted] if registered.keys() >= set(wanted) else None
    if not all(map(_is_settled, status.plugins)):
        return None
    return list(registered.values())


def _is_settled(plugin: PluginStatus) -> bool:
    """Return whether a plugin has registered everything that it is about to register.

    Without hardware, it has nothing to register.
    """
    if plugin.condition is Condition.NO_RESOURCES:
        return not plugin.report.fault
    return plugin.is_off or plugin.condition in _SETTLED


def _is_shown(node: Node, resource: ResourceStatus) -> bool:
    """Return whether the node's status shows a resource to the scheduler; zero counts only if no device can be used."""
    known = (node.status.allocatable or {}).get(resource.name)
    if known is None:
        return False
    return known != "0" or resource.allocatable == 0
