"""What a report contains for people, programs and CI systems."""

from xml.etree import ElementTree as ET

import pytest

from hub.testing.conformance import Level, Outcome, Report, Result, junit


def _result(rule: str, outcome: Outcome, level: Level = Level.MUST, *findings: str) -> Result:
    skipped = "it lists no device" if outcome is Outcome.SKIPPED else ""
    return Result(rule, level, "It works.", outcome, findings, skipped, "Pods fail.", "kubelet, manager.go", 0.5)


REPORT = Report(
    "my-plugin",
    "example.com/stub",
    [
        _result("registers", Outcome.PASSED),
        _result("first-list", Outcome.FAILED, Level.SHOULD, "it is late", "\x1b[31mred\x00"),
        _result("numa-nodes", Outcome.SKIPPED),
    ],
)


@pytest.mark.parametrize(
    ("outcome", "level", "conforms"),
    [
        (Outcome.FAILED, Level.MUST, False),
        (Outcome.FAILED, Level.SHOULD, True),
        (Outcome.SKIPPED, Level.MUST, True),
    ],
)
def test_a_plugin_conforms(outcome: Outcome, level: Level, *, conforms: bool) -> None:
    """It conforms unless it breaks a rule that it must follow."""
    assert Report("", "", [*REPORT.results, _result("x", outcome, level)]).conforms == conforms


def test_a_junit_file() -> None:
    """Each rule is a test case; what a plugin sent does not break the file."""
    suite = ET.fromstring(junit(REPORT))  # noqa: S314 - as above
    counts = {name: suite.get(name) for name in ("tests", "failures", "skipped", "time")}
    assert counts == {"tests": "3", "failures": "1", "skipped": "1", "time": "1.500"}
    cases = {case.get("name"): case for case in suite}
    assert [cases[name].get("classname") for name in cases] == ["must", "should", "must"]
    (failure,) = cases["first-list"]
    assert (failure.get("message") or "").startswith("it is late; ")
    assert failure.text == "It works.\nPods fail.\n(kubelet, manager.go)\ndocs/verify.md#first-list"
    (skipped,) = cases["numa-nodes"]
    assert skipped.get("message") == "it lists no device"
