"""What the check of a plugin found."""

from collections.abc import Sequence
from enum import StrEnum
from xml.etree import ElementTree as ET

import msgspec

from hub.base.printable import printable
from hub.testing.conformance.rule import Level

PAGE = "docs/verify.md"
"""The page that explains each rule."""


class Outcome(StrEnum):
    """The outcome of one rule."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Result(msgspec.Struct, frozen=True):
    """The result of one rule."""

    rule: str
    level: Level
    title: str
    outcome: Outcome
    findings: tuple[str, ...] = ()
    """What is wrong; empty unless it failed."""
    skipped: str = ""
    """Why it could not be checked."""
    reason: str = ""
    """What happens to plugins that break the rule."""
    source: str = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """The results of all rules that were checked, in their order."""

    plugin: str
    """What was checked, as the user named it."""
    resource: str
    """Empty if it is unknown, as behind a socket."""
    results: Sequence[Result]

    def count(self, outcome: Outcome, *levels: Level) -> int:
        """Return the number of rules with an outcome, of some levels or of all."""
        return sum(each.outcome is outcome and each.level in (levels or Level) for each in self.results)

    @property
    def conforms(self) -> bool:
        """Whether the plugin follows every rule that it must follow."""
        return not self.count(Outcome.FAILED, Level.MUST)


def junit(report: Report) -> bytes:
    """Write the report in the format of JUnit. A failed rule is a failure, whatever its level."""
    suite = ET.Element(
        "testsuite",
        name=printable(f"dphub verify {report.resource or report.plugin}"),
        tests=str(len(report.results)),
        failures=str(report.count(Outcome.FAILED)),
        skipped=str(report.count(Outcome.SKIPPED)),
        time=f"{sum(each.seconds for each in report.results):.3f}",
    )
    for each in report.results:
        case = ET.SubElement(suite, "testcase", classname=each.level, name=each.rule, time=f"{each.seconds:.3f}")
        if each.outcome is Outcome.FAILED:
            failure = ET.SubElement(case, "failure", type=each.level, message=printable("; ".join(each.findings)))
            failure.text = f"{each.title}\n{each.reason}\n({each.source})\n{PAGE}#{each.rule}"
        elif each.outcome is Outcome.SKIPPED:
            ET.SubElement(case, "skipped", message=printable(each.skipped))
    ET.indent(suite)
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
