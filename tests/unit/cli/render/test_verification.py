"""What `dphub verify` shows on a terminal."""

import io

import pytest
from rich.console import Console, RenderableType

from hub.cli.render.verification import result_lines, rule_table, summary
from hub.testing.conformance import RULES, Level, Outcome, Report, Result


def _shown(screen: RenderableType, width: int = 60) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def _result(outcome: Outcome, level: Level = Level.MUST, *findings: str, skipped: str = "") -> Result:
    return Result("ids-unique", level, "Ids differ.", outcome, findings, skipped, "Pods fail.", "kubelet, manager.go")


def test_a_rule_that_passes_is_one_line() -> None:
    """The line shows its level and name."""
    assert _shown(result_lines(_result(Outcome.PASSED))) == ["passed   must    ids-unique"]


def test_a_rule_that_fails_says_what_why_and_where() -> None:
    """Long lines are indented; characters from the plugin do not control the terminal."""
    failed = _result(Outcome.FAILED, Level.SHOULD, "2 devices have the id '\x1b[31m'", "and 3 more")
    assert _shown(result_lines(failed), width=40) == [
        "failed   should  ids-unique",
        "         2 devices have the id '\N{REPLACEMENT CHARACTER}[31m'",
        "         and 3 more",
        "         Ids differ.",
        "         Pods fail. (kubelet,",
        "         manager.go)",
        "         docs/verify.md#ids-unique",
    ]


def test_a_rule_that_is_skipped_says_why() -> None:
    """A reader does not mistake it for a rule that passed."""
    skipped = _result(Outcome.SKIPPED, skipped="it lists no device")
    assert _shown(result_lines(skipped)) == ["skipped  must    ids-unique", "         it lists no device"]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([(Outcome.PASSED, Level.MUST)], "stub: 1 rule: 1 passed, 0 failed, 0 skipped"),
        (
            [(Outcome.FAILED, Level.MUST), (Outcome.FAILED, Level.SHOULD), (Outcome.SKIPPED, Level.MUST)],
            "stub: 3 rules: 0 passed, 2 failed (1 must, 1 should), 1 skipped",
        ),
    ],
)
def test_the_summary_counts(outcomes: list[tuple[Outcome, Level]], expected: str) -> None:
    """It counts rules by outcome, and failures by level."""
    assert _shown(summary(Report("stub", "", [_result(*each) for each in outcomes])), width=80) == [expected]


def test_the_table_has_every_rule() -> None:
    """Each rule has its level."""
    lines = _shown(rule_table(RULES.values()), width=200)[2:]
    assert [line.split()[:2] for line in lines] == [[rule.name, rule.level] for rule in RULES.values()]
