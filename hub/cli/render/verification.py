"""Shows the rules for device plugins, and what `dphub verify` found."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from hub.base.printable import printable
from hub.base.wording import counted
from hub.cli.render.table import Column, Table
from hub.testing.conformance import PAGE, Level, Outcome, Report, Result, Rule

_STYLES = {Outcome.PASSED: "green", Outcome.SKIPPED: "dim"}
_FAILED = {Level.MUST: "bold red", Level.SHOULD: "yellow"}

_INDENT = 9


def result_lines(result: Result) -> RenderableType:
    """Show the result of one rule; if it failed, what is wrong and why it matters."""
    style = _STYLES.get(result.outcome, _FAILED[result.level])
    parts: list[RenderableType] = [
        Text.assemble((f"{result.outcome:<{_INDENT}}", style), f"{result.level:<8}", (result.rule, "bold"))
    ]
    if result.outcome is Outcome.FAILED:
        parts += [_indented(finding, style) for finding in result.findings]
        parts += [
            _indented(result.title),
            _indented(f"{result.reason} ({result.source})", "dim"),
            _indented(f"{PAGE}#{result.rule}", "dim"),
        ]
    elif result.outcome is Outcome.SKIPPED:
        parts.append(_indented(result.skipped, "dim"))
    return Group(*parts)


def summary(report: Report) -> RenderableType:
    """Show how many rules passed, failed and were skipped."""
    must, should = (report.count(Outcome.FAILED, level) for level in Level)
    numbers = f"{report.count(Outcome.PASSED)} passed, {must + should} failed"
    if must + should:
        numbers += f" ({must} must, {should} should)"
    style = _FAILED[Level.MUST] if must else _FAILED[Level.SHOULD] if should else "bold green"
    subject = printable(report.resource or report.plugin)
    rules, skipped = counted(len(report.results), "rule"), report.count(Outcome.SKIPPED)
    return Text(f"{subject}: {rules}: {numbers}, {skipped} skipped", style)


def rule_table(rules: Iterable[Rule]) -> RenderableType:
    """Show the rules."""
    table = Table(Column("rule"), Column("level"), Column("what the plugin does", min_width=30))
    for each in rules:
        table.add(each.name, each.level, each.title)
    return table


def rule_documents(rules: Iterable[Rule]) -> Sequence[Mapping[str, str]]:
    """Return the rules as JSON objects."""
    return [
        {"rule": each.name, "level": each.level, "title": each.title, "reason": each.reason, "source": each.source}
        for each in rules
    ]


def _indented(text: str, style: str = "") -> RenderableType:
    return Padding(Text(printable(text), style), (0, 0, 0, _INDENT), expand=False)
