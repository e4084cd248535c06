"""External text, on every path to a terminal, tested in this process."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from tornado.httpclient import AsyncHTTPClient

from hub.base.jsonfile import replace_file
from hub.base.log import LogFormat, LogLevel, configure, get_logger
from hub.base.paths import RunDir
from hub.cli import cli
from hub.cli.commands.devices import devices
from hub.cli.completing import Complete, everything, releasable, used
from hub.model.history import Allocation, AllocationHistory, HealthChange
from hub.model.hub import HubReport, InstanceReport, LastExit, ProcessReport, RunState
from hub.model.plugin import (
    DeviceStatus,
    ExcludedDevice,
    PluginReport,
    RegistrationStatus,
    Rejection,
    ResetReport,
    ResourceStatus,
)
from hub.status.reader import Reader
from hub.supervisor.http import server

ROUNDS = 20

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
DIRECTIONS = [chr(code) for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
BREAKS = ["\n", "\r\n", "\x85", "\u2028", "\u2029", "\n2026-01-01T00:00:00Z [error    ] forged"]
SEQUENCES = ["\x1b[2J", "\x9b31m", "\x1b]0;title\x07", "\x9d8;;http://evil.example\x9c"]


@pytest.fixture
def hostile() -> Callable[[], str]:
    """Create hostile strings; the seed is printed, so that a failure can be repeated."""
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    print(f"seed {seed}")  # noqa: T201 - as the docstring says
    rng = random.Random(seed)  # noqa: S311 - not a secret
    parts = [*CONTROLS, *DIRECTIONS, *BREAKS, *SEQUENCES, "a", "ü", "[red]", " "]
    return lambda: "x" + "".join(rng.choices(parts, k=8))


def _expect_printable(text: str) -> None:
    """Check that there are only line feeds and printable characters."""
    odd = {character for character in text if character != "\n" and not character.isprintable()}
    assert odd == set(), text


def _write_node(run_dir: RunDir, hostile: Callable[[], str]) -> None:
    """Write the reports of a node in which all strings are hostile."""
    devices = tuple(
        DeviceStatus(f"{n}{hostile()}", n > 1, hostile(), (), hostile(), source=hostile(), pci=(hostile(),),
                     upstream=(hostile(),), attributes={hostile(): hostile()}, holder=hostile())
        for n in range(3)
    )  # fmt: skip
    resource = ResourceStatus(
        hostile(),
        hostile(),
        RegistrationStatus.REJECTED,
        since=1,
        detail=hostile(),
        capacity=3,
        allocatable=1,
        reason=hostile(),
        problems=(hostile(),),
        warnings=(hostile(),),
        devices=devices,
        removed_in_use={hostile(): hostile()},
        rejection=Rejection(hostile(), 1, 1),
    )
    report = PluginReport(
        "stub",
        pid=1,
        resources=(resource,),
        reason=hostile(),
        fault=True,
        excluded=(ExcludedDevice(hostile(), hostile()),),
        resets={hostile(): ResetReport(hostile(), hostile(), 1, 1)},
        cordons={hostile(): hostile()},
    )
    last = LastExit(1, 1, hostile(), 1)
    process = ProcessReport("stub", RunState.RUNNING, 1, last_exit=last, start_error=hostile(), unresponsive=hostile())
    hub = HubReport(
        *(hostile(), 1, 1, hostile(), hostile(), hostile(), hostile()),
        node=hostile(),
        http=hostile(),
        http_error=hostile(),
        config_error=hostile(),
        failures={hostile(): hostile()},
    )
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, (process,))))
    run_dir.report("stub").write_bytes(msgspec.json.encode(report))
    change = HealthChange(1, hostile(), hostile())
    allocation = Allocation(hostile(), hostile(), hostile(), 1, physical=hostile(), health=(change,))
    run_dir.history("stub").parent.mkdir(exist_ok=True)
    run_dir.history("stub").write_bytes(msgspec.json.encode(AllocationHistory((allocation,))))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", []),
        ("status", ["stub"]),
        ("status", ["--json"]),
        ("status", ["stub", "--json"]),
        ("devices", []),
        ("devices", ["stub"]),
        ("devices", ["0x"]),
        ("devices", ["--json"]),
        ("history", []),
        ("history", ["--json"]),
    ],
)
def test_commands_print_plain_text(directory: Path, hostile: Callable[[], str], command: str, words: list[str]) -> None:
    """Whatever ids, reasons and names contain, no control character and no change in direction is printed."""
    for _ in range(ROUNDS):
        _write_node(RunDir(directory), hostile)
        result = CliRunner().invoke(cli, [command, *words, "--run-dir", str(directory)])
        assert result.exit_code in (0, 1), result.output
        _expect_printable(result.output)
        assert "x" in result.output


@pytest.mark.parametrize("complete", [everything, releasable, used])
def test_a_shell_completes_plain_text(directory: Path, hostile: Callable[[], str], complete: Complete) -> None:
    """Names that cannot be typed are not offered, and descriptions are printable."""
    context = click.Context(devices)
    context.params = {"run_dir": directory}
    for _ in range(ROUNDS):
        _write_node(RunDir(directory), hostile)
        for item in complete(context, devices.params[0], ""):
            _expect_printable(f"{item.value} {item.help}")
            assert "\n" not in f"{item.value} {item.help}"
            # bash does not escape a completed name inside double quotes.
            assert not set(item.value) & set('$`"\\!')


async def test_the_endpoints_answer_plain_text(directory: Path, hostile: Callable[[], str]) -> None:
    """This holds for curl on a terminal, too, even if the hub's own report is invalid."""
    run_dir = RunDir(directory)
    address: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(
        server.serve_web("127.0.0.1:0", Reader(run_dir), lambda at, _: address.put_nowait(at))
    )
    try:
        at = await address.get()
        for write in (_write_node, _write_ready_node, _write_garbage):
            write(run_dir, hostile)
            for path in ("/status", "/readyz", "/metrics"):
                answer = await AsyncHTTPClient().fetch(f"http://{at}{path}", raise_error=False)
                _expect_printable(answer.body.decode())
                assert len(answer.body) > 10
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def _write_ready_node(run_dir: RunDir, hostile: Callable[[], str]) -> None:
    """Write the report of a node without errors, whose plugin has a hostile name."""
    process = ProcessReport(hostile().replace("\0", ""), RunState.STOPPED)
    hub = HubReport("1", 1, 0.0, "dphub", "", "", "")
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, (process,))))


def _write_garbage(run_dir: RunDir, hostile: Callable[[], str]) -> None:
    """Write a report that cannot be decoded, which the error quotes."""
    run_dir.hub_report.write_bytes(msgspec.json.encode({"processes": [{"name": "a", "run": hostile()}]}))


def _log_hostile_events(run_dir: RunDir, hostile: Callable[[], str], form: LogFormat) -> int:
    """Log hostile values and an exception, as a hub does; return the number of events."""
    configure(LogLevel.INFO, form, keep=run_dir.hub_log)
    log = get_logger()
    try:
        for _ in range(ROUNDS):
            log.warning(hostile(), reason=hostile(), plugin=hostile(), **{hostile(): [hostile(), {hostile(): b"\x9b"}]})
        try:
            int(hostile() + "\n2026-01-01T00:00:00Z [error    ] forged")
        except ValueError:
            log.exception("hub task failed")
    finally:
        configure()
    return ROUNDS + 1


def _expect_events(text: str, count: int) -> None:
    """Check that there is a line for each event; the other lines, those of the exception, are marked as part of it."""
    _expect_printable(text)
    assert len([line for line in text.splitlines() if not line.startswith("    ")]) == count, text


def test_state_files_are_plain_text(directory: Path, hostile: Callable[[], str]) -> None:
    """`cat` shows them unchanged, so they contain only plain text."""
    before = {hostile(): [hostile(), "Grüße, 世界"] for _ in range(ROUNDS)}
    replace_file(directory / "state.json", before)
    text = (directory / "state.json").read_text()
    _expect_printable(text)
    assert "Grüße, 世界" in text
    assert json.loads(text) == before


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_log_line_stays_one_line(directory: Path, hostile: Callable[[], str], words: list[str]) -> None:
    """`dphub logs` shows each event as one line, whatever its values are; nothing can forge another."""
    run_dir = RunDir(directory)
    _write_node(run_dir, hostile)
    count = _log_hostile_events(run_dir, hostile, LogFormat.JSON)
    result = CliRunner().invoke(cli, ["logs", *words, "--run-dir", str(directory)])
    assert result.exit_code == 0, result.output
    _expect_events(result.output, count)
    if words:
        assert len([json.loads(line) for line in result.output.splitlines()]) == count


def test_log_lines_that_are_nested_deeply(directory: Path) -> None:
    """`dphub logs` shows the other lines, and as much of these as it can."""
    run_dir = RunDir(directory)
    _write_node(run_dir, lambda: "x")
    # How deeply Python can read and print depends on the depth of its own calls.
    depths = (100, *range(500, 1000), 100_000)
    nested = [b'{"event": "deep", "value": ' + b"[" * depth + b"]" * depth + b"}" for depth in depths]
    run_dir.hub_log.write_bytes(b"\n".join([b'{"event": "before"}', *nested, b'{"event": "after"}\n']))
    result = CliRunner().invoke(cli, ["logs", "--run-dir", str(directory), "-n", "1000"])
    assert result.exit_code == 0
    events = [line.split()[0] for line in result.output.splitlines()]
    assert [event for event in events if event != "deep"] == ["before", "after"]


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_the_hubs_own_output(
    directory: Path, hostile: Callable[[], str], form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dphub run` prints plain text, too, on a terminal and elsewhere."""
    count = _log_hostile_events(RunDir(directory), hostile, form)
    _expect_events(capsys.readouterr().err, count)
