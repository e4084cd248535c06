"""All rules, in the order in which they are checked: those that disturb the plugin come last."""

from hub.testing.conformance import (
    allocation,
    announced,
    changes,
    containers,
    disturbances,
    lists,
    preference,
    prestart,
    registration,
    restarts,
    stopping,
    streams,
)
from hub.testing.conformance.rule import Rule

GROUPS: dict[str, tuple[Rule, ...]] = {
    "registration": registration.RULES,
    "lists": lists.RULES,
    "streams": streams.RULES,
    "Allocate": allocation.RULES,
    "what a container gets": containers.RULES,
    "announced calls": announced.RULES,
    "GetPreferredAllocation": preference.RULES,
    "PreStartContainer": prestart.RULES,
    "changes": changes.RULES,
    "restarts of the kubelet": restarts.RULES,
    "disturbances": disturbances.RULES,
    "stopping": stopping.RULES,
}
"""The rules by subject."""

RULES: dict[str, Rule] = {rule.name: rule for group in GROUPS.values() for rule in group}
"""The rules by name."""
