"""All rules, in the order in which they are checked: those that disrupt the plugin come last."""

from hub.testing.conformance import (
    advertised,
    allocation,
    changes,
    containers,
    lists,
    preference,
    prestart,
    registration,
    restarts,
    robustness,
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
    "advertised options": advertised.RULES,
    "GetPreferredAllocation": preference.RULES,
    "PreStartContainer": prestart.RULES,
    "changes": changes.RULES,
    "restarts of the kubelet": restarts.RULES,
    "robustness": robustness.RULES,
    "stopping": stopping.RULES,
}
"""The rules by topic."""

RULES: dict[str, Rule] = {rule.name: rule for group in GROUPS.values() for rule in group}
"""The rules by name."""
