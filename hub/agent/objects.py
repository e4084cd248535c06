"""The parts of the API's objects that the agent reads. What is absent or null counts as empty."""

from typing import Any

import msgspec

from hub.base.untrusted import Integer


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata that each object has."""

    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class PartialObject(msgspec.Struct, frozen=True):
    """An object without its specification and status."""

    metadata: Metadata = Metadata()


class NodeSpec(msgspec.Struct, frozen=True):
    """The specification of a node."""

    taints: tuple[dict[str, Any], ...] | None = None
    """Each taint has all its fields, because a patch that removes a taint repeats the whole taint."""


class WrittenCondition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition of a node, as a program has written it."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class NodeState(msgspec.Struct, frozen=True):
    """The status of a node."""

    conditions: tuple[WrittenCondition, ...] | None = None
    allocatable: dict[str, str] | None = None


class Node(PartialObject, frozen=True):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeState = NodeState()


class WatchEvent(msgspec.Struct, frozen=True):
    """A watch event."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")
    """A `PartialObject`, or with the type ERROR a `WatchError`."""


class WatchError(msgspec.Struct, frozen=True):
    """Why a watch has ended."""

    code: Integer | None = None
    message: str = ""
