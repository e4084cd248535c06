"""A conformance kit: checks whether a device plugin, in any language, behaves as the kubelet and pods require.

A *rule* says what a plugin does, and checks it. Rules check a *subject*: the plugin, with the fake kubelet that it
talks to. The *report* contains what rules find.

    with started_by(["my-plugin", "--dir={plugin_dir}"]) as subject:
        async with subject:
            async for result in check(subject, RULES.values()):
                print(result.rule, result.outcome, *result.findings)
"""

from hub.testing.conformance.hosts import behind, found_in, started_by
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.report import PAGE, Outcome, Report, Result, junit
from hub.testing.conformance.rule import Level, Rule
from hub.testing.conformance.rules import GROUPS, RULES
from hub.testing.conformance.runner import check
from hub.testing.conformance.subject import Subject

__all__ = [
    "GROUPS",
    "PAGE",
    "RULES",
    "Level",
    "Limits",
    "Outcome",
    "Report",
    "Result",
    "Rule",
    "Subject",
    "behind",
    "check",
    "found_in",
    "junit",
    "started_by",
]
