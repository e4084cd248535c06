"""The callers of the fake API server, and what each of them may do."""

import secrets
from collections.abc import Collection
from typing import NamedTuple

from hub.testing.apiserver import errors
from hub.testing.apiserver.kinds import SLICES, Object, Target

Permission = tuple[str, str]
"""A verb and a resource, with its subresource if it has one."""

DRIVER_PERMISSIONS: frozenset[Permission] = frozenset(
    [
        ("get", "resourceclaims"),
        ("get", "nodes"),
        ("create", "events"),
        *((verb, "resourceslices") for verb in ("get", "list", "watch", "create", "update", "delete")),
    ]
)
"""What the service account of a DRA driver needs."""


class Caller(NamedTuple):
    """The owner of a token."""

    name: str
    permissions: frozenset[Permission] | None
    """None for all permissions."""
    node: str = ""
    """The node whose slices the caller may change; empty for all nodes."""


class Access:
    """Tokens, and what their owners may do."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    def issue(self, name: str, permissions: Collection[Permission] | None, node: str = "") -> str:
        """Return a new token.

        Args:
            name: The user, as errors name it.
            permissions: What the user may do; None for everything.
            node: The node of the user's pod; the user may change the slices of this node only.
        """
        token = secrets.token_urlsafe(16)
        self._callers[token] = Caller(name, None if permissions is None else frozenset(permissions), node)
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token: calls with it fail with 401."""
        self._callers.pop(token, None)

    def caller(self, authorization: str) -> Caller:
        """Return the owner of the token in a header.

        Raises:
            RequestError: the token has no owner.
        """
        found = self._callers.get(authorization.removeprefix("Bearer "))
        if found is None:
            raise errors.RequestError(errors.UNAUTHORIZED, "Unauthorized")
        return found


def check_permission(caller: Caller, verb: str, target: Target) -> None:
    """Check that role-based access control allows a request.

    Raises:
        RequestError: the request is forbidden.
    """
    kind = target.kind
    resource = f"{kind.resource}/{target.subresource}" if target.subresource else kind.resource
    if caller.permissions is None or (verb, resource) in caller.permissions:
        return
    place = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    name = f' "{target.name}"' if target.name else ""
    raise errors.RequestError(
        errors.FORBIDDEN,
        f'{kind.qualified}{name} is forbidden: User "{caller.name}" cannot {verb} resource "{resource}" '
        f'in API group "{kind.group}" {place}',
    )


def check_node(caller: Caller, target: Target, content: Object) -> None:
    """Check that the admission policy allows a change: a slice must belong to the caller's node.

    Raises:
        RequestError: the change is forbidden.
    """
    node = content.get("spec", {}).get("nodeName")
    if target.kind is not SLICES or not caller.node or node == caller.node:
        return
    name = content.get("metadata", {}).get("name", "")
    raise errors.RequestError(
        errors.FORBIDDEN,
        f'{target.kind.qualified} "{name}" is forbidden: ValidatingAdmissionPolicy with binding denied request: '
        f"this user of the node {caller.node} may not change a slice of the node {node}",
    )
