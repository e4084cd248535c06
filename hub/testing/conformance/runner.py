"""Checks a plugin, rule by rule."""

import time
from collections.abc import AsyncIterator, Iterable

from hub.testing.conformance.report import Outcome, Result
from hub.testing.conformance.rule import NotApplicable, Rule
from hub.testing.conformance.subject import Subject

MAX_FINDINGS = 5
"""The number of findings of one rule that are reported; the others are counted."""


async def check(subject: Subject, rules: Iterable[Rule]) -> AsyncIterator[Result]:
    """Check the rules in turn, and yield each result."""
    for rule in rules:
        yield await _result(subject, rule)


async def _result(subject: Subject, rule: Rule) -> Result:
    begin = time.monotonic()
    findings: tuple[str, ...] = ()
    skipped = ""
    try:
        findings = _first([finding async for finding in rule.check(subject)])
    except NotApplicable as reason:
        skipped = str(reason)
    outcome = Outcome.SKIPPED if skipped else Outcome.FAILED if findings else Outcome.PASSED
    return Result(
        rule.name,
        rule.level,
        rule.title,
        outcome,
        findings,
        skipped,
        rule.reason,
        rule.source,
        round(time.monotonic() - begin, 3),
    )


def _first(findings: list[str]) -> tuple[str, ...]:
    more = len(findings) - MAX_FINDINGS
    return (*findings[:MAX_FINDINGS], *([f"and {more} more"] if more > 0 else []))
