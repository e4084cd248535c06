"""`dphub verify`: checks whether a device plugin, in any language, behaves as the kubelet and pods require."""

from __future__ import annotations

import asyncio
import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.base.errors import ConfigError
from hub.base.exits import Exit
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import is_served
from hub.base.stopsignals import stop_signals
from hub.base.wording import did_you_mean, first_of
from hub.cli.plugindir import ANOTHER, check_not_kubelet_dir, check_own_directory, make_own_directory
from hub.cli.render.live import show
from hub.cli.render.text import click_errors, echo, echo_json, examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hub.testing.conformance import Limits, Report, Rule, Subject

_PATH = click.Path(path_type=Path, readable=False)


@dataclass(frozen=True)
class _Plugin:
    """How to reach the plugin: exactly one of command, socket and plugin directory is set."""

    command: Sequence[str]
    socket: Path | None
    plugin_dir: Path | None
    resource: str

    def __str__(self) -> str:
        return shlex.join(self.command) or str(self.socket or self.plugin_dir)

    def check(self) -> None:
        """Reject flags that contradict each other, and a directory in which a kubelet may run."""
        if sum(map(bool, (self.command, self.socket, self.plugin_dir))) != 1:
            raise click.UsageError(
                "specify one of --socket PATH, --plugin-dir DIR with --resource NAME, and -- COMMAND"
            )
        if self.plugin_dir and not self.resource:
            raise click.UsageError("--plugin-dir needs --resource NAME: several plugins may share a directory")
        if self.socket and self.resource:
            raise click.UsageError("a socket serves a single resource, so --resource does not apply")
        if self.socket and not is_served(self.socket):
            raise ConfigError(self.socket, "no process is listening there, expected the socket of a running plugin")
        if self.plugin_dir:
            _check_plugin_dir(self.plugin_dir)

    @contextmanager
    def subject(self, limits: Limits, change: Sequence[str], output: Path | None) -> Iterator[Subject]:
        """Yield the plugin for the check."""
        from hub.testing.conformance import behind, found_in, started_by  # noqa: PLC0415 - gRPC, as below

        if self.socket:
            chosen = behind(self.socket, limits=limits, change=change)
        elif self.plugin_dir:
            chosen = found_in(self.plugin_dir.absolute(), self.resource, limits=limits, change=change)
        else:
            chosen = started_by(self.command, self.resource, limits=limits, change=change, output=output)
        with chosen as subject:
            yield subject


@click.command(
    epilog=examples(
        "dphub verify -- my-plugin --plugin-dir {plugin_dir}",
        "dphub verify --plugin-dir node/device-plugins --resource example.com/stub",
        "dphub verify --socket node/device-plugins/stub.sock",
        "dphub verify --rules",
    )
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--socket", type=_PATH, help="The socket of a running plugin; its life cycle is not checked.")
@click.option("--plugin-dir", type=_PATH, help="The device plugin directory of a plugin that another program starts.")
@click.option("--resource", default="", metavar="NAME", help="The resource to check.  [default: the first registered]")
@click.option(
    "--change", default="", metavar="COMMAND", help="A command that makes the plugin change its list of devices."
)
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Check only this rule; may be repeated.")
@click.option("--skip", "skipped", multiple=True, metavar="NAME", help="Do not check this rule; may be repeated.")
@click.option(
    "--slow",
    default=1.0,
    type=click.FloatRange(1),
    metavar="FACTOR",
    help="Allow FACTOR times as long, for a slow machine.",
)
@click.option("--output", type=_PATH, help="The file to which the plugin's output is appended.")
@click.option("--junit", type=_PATH, help="Also write the result to this file, in JUnit's format.")
@click.option("--json", "as_json", is_flag=True, help="Print the result, or the rules, as JSON.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and check nothing.")
@click_errors()
def verify(
    *,
    command: Sequence[str],
    socket: Path | None,
    plugin_dir: Path | None,
    resource: str,
    change: str,
    names: Sequence[str],
    skipped: Sequence[str],
    slow: float,
    output: Path | None,
    junit: Path | None,
    as_json: bool,
    list_rules: bool,
) -> None:
    """Check a device plugin against the rules that the kubelet and pods depend on, without a cluster.

    COMMAND starts the plugin in a new directory with a fake kubelet: its arguments may contain {plugin_dir} (that
    directory) and {kubelet_dir} (its parent directory); DPHUB_PLUGIN_DIR is set too. The check allocates devices, calls
    PreStartContainer, and stops the plugin: use hardware that no pod uses.

    The exit code is 0 if the plugin follows all rules that it must follow, 1 if it breaks one of them, and 2 if the
    check was not completed.
    """
    from hub.testing.conformance import Limits  # noqa: PLC0415 - gRPC takes 0.2 s to load
    from hub.testing.conformance import junit as junit_document  # noqa: PLC0415 - as above

    chosen = _chosen(names, skipped)
    if list_rules:
        _list(chosen, as_json=as_json)
        return
    plugin = _Plugin(command, socket, plugin_dir, resource)
    plugin.check()
    for path in filter(None, (output, junit)):
        _check_writable(path)
    with plugin.subject(Limits().scaled(slow), shlex.split(change), output) as subject:
        report = _run(subject, chosen, str(plugin), live=not as_json)
    if junit:
        junit.write_bytes(junit_document(report))
    if as_json:
        echo_json(report)
    sys.exit(Exit.OK if report.conforms else Exit.FAILED)


def _chosen(names: Sequence[str], skipped: Sequence[str]) -> list[Rule]:
    """Return the rules with these names, all rules if no names are given, but not the skipped ones.

    Raises:
        click.UsageError: there is no such rule, or none is left.
    """
    from hub.testing.conformance import RULES  # noqa: PLC0415 - as above

    for name in (*names, *skipped):
        if name not in RULES:
            raise click.UsageError(f"there is no rule {name}{did_you_mean(name, RULES)}; --rules lists them")
    chosen = [rule for name, rule in RULES.items() if name in (names or RULES) and name not in skipped]
    if not chosen:
        raise click.UsageError("--skip names all the rules, so no rule is left to check")
    return chosen


def _list(rules: Sequence[Rule], *, as_json: bool) -> None:
    from hub.cli.render.verification import rule_documents, rule_table  # noqa: PLC0415 - as above

    if as_json:
        echo_json(rule_documents(rules))
    else:
        show(lambda: rule_table(rules), watch=False)


def _check_writable(path: Path) -> None:
    """Reject a file that cannot be written, before the check instead of after it."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise ConfigError(path, f"cannot be written: {error.strerror}") from None


def _check_plugin_dir(path: Path) -> None:
    """Reject the directory of a real kubelet, even of one that is not running: all sockets in it would be deleted."""
    check_own_directory(path, may_be_missing=True)
    check_not_kubelet_dir(path.absolute() / KUBELET_SOCKET, "choose another, and start the plugin with it")
    if path.exists() and not path.is_dir():
        raise ConfigError(path, "not a directory, expected a plugin directory")
    make_own_directory(path)
    if found := sorted(each.name for each in path.iterdir() if each.is_dir()):
        raise ConfigError(path, f"contains directories ({first_of(found, 3)}), which the check would delete; {ANOTHER}")


def _run(subject: Subject, rules: Sequence[Rule], plugin: str, *, live: bool) -> Report:
    try:
        return asyncio.run(_check(subject, rules, plugin, live=live))
    except asyncio.CancelledError:
        # A signal has arrived, and the plugin has been stopped.
        echo("dphub: the check was interrupted, and the plugin was stopped", error=True)
        sys.exit(Exit.USAGE)


async def _check(subject: Subject, rules: Sequence[Rule], plugin: str, *, live: bool) -> Report:
    """Check the rules, and show each result at once if `live` is set."""
    from hub.cli.render.verification import result_lines, summary  # noqa: PLC0415 - as above
    from hub.testing.conformance import Report, check  # noqa: PLC0415 - as above

    _stop_on_signals()
    results = []
    async with subject:
        async for result in check(subject, rules):
            results.append(result)
            if live:
                show(lambda: result_lines(results[-1]), watch=False)
    report = Report(plugin, subject.resource, results)
    if live:
        show(lambda: summary(report), watch=False)
    return report


def _stop_on_signals() -> None:
    """Stop the check on a signal; without that, the plugin would be left running."""
    task = asyncio.current_task()
    for number in stop_signals():
        if task:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
