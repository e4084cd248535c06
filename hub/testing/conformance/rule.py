"""A rule that device plugins have to follow, and what its check reports."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.testing.conformance.subject import Subject


class Level(StrEnum):
    """What happens if a plugin breaks a rule."""

    MUST = "must"
    """The kubelet or pods fail."""
    SHOULD = "should"
    """It is slower, harder to operate, or fails in rare cases."""


class NotApplicable(Exception):
    """The rule cannot be checked; the text is the reason."""


Findings = AsyncIterator[str]
"""What is wrong, one sentence for each case; nothing if the plugin follows the rule."""

Check = Callable[["Subject"], Findings]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    name: str
    level: Level
    title: str
    """What the plugin does if it follows the rule."""
    reason: str
    """What happens otherwise."""
    source: str
    """Where that is specified or implemented."""
    check: Check
    """Checks a subject. Raises NotApplicable if it cannot."""


def rule(name: str, level: Level, title: str, *, reason: str, source: str) -> Callable[[Check], Rule]:
    """Make the decorated check a rule."""
    return lambda check: Rule(name, level, title, reason, source, check)
