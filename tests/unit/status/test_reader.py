"""What the hub shows when a process has written nonsense."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import msgspec.inspect
import pytest

from hub.base.paths import RunDir
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.check import CheckReport
from hub.model.heartbeat import HeartbeatReport
from hub.model.history import AllocationHistory
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import PluginReport
from hub.plugin.health.record import HealthRecord
from hub.status.prometheus import expose
from hub.status.reader import Reader
from tests.harness.files import put

PID = os.getpid()
ENORMOUS = b"1" * 400


def _run_dir(path: Path, plugin: str = "bad") -> RunDir:
    run_dir = RunDir(path)
    hub = HubReport("1", PID, 1, "dphub", "circus.ini", "/plugins", "/")
    process = ProcessReport(plugin, RunState.RUNNING, PID, 1)
    run_dir.hub_report.write_bytes(msgspec.json.encode(InstanceReport(hub, (process,))))
    return run_dir


def _metric(**fields: object) -> bytes:
    metric = {"name": "dphub_x", "help": "x", "samples": [{"value": 1}], **fields}
    return msgspec.json.encode({"pid": PID, "metrics": [metric]})


@pytest.mark.parametrize(
    "content",
    [
        f'{{"pid": {PID}, "log_level": "'.encode() + b'\xff"}',
        b'{"pid": ' + b"[" * 100_000,
        b"",
        None,
        _metric(name="a b\n# HELP"),
        _metric(samples=[{"value": 1, "labels": {"1\n": "x"}}]),
        _metric(kind="histogram", samples=[{"value": {"bounds": [1], "counts": [1, 2, 3]}}]),
        _metric(kind="histogram", samples=[{"value": 1}]),
        f'{{"pid": {PID}, "scan": {ENORMOUS.decode()}}}'.encode(),
        _metric(kind="histogram", samples=[{"value": {"bounds": [1], "counts": [1, 0]}}]).replace(
            b"0]", ENORMOUS + b"]"
        ),
    ],
    ids=["bytes", "nested", "empty", "pipe", "name", "label", "buckets", "number", "digits", "count"],
)
def test_a_bad_heartbeat_affects_nothing_else(tmp_path: Path, content: bytes | None) -> None:
    """Status, readiness and metrics of the node are served, whatever a plugin process has written."""
    run_dir = _run_dir(tmp_path)
    put(run_dir.heartbeat("bad"), content)
    reader = Reader(run_dir)
    status = reader.status(running=True)
    assert [plugin.name for plugin in status.plugins] == ["bad"]
    heartbeat = reader.heartbeat(status.plugins[0].process)
    text = expose(status, {"bad": heartbeat} if heartbeat else {})
    assert b"dphub_ok" in text
    assert b"dphub_x" not in text


def _resource(**numbers: int) -> bytes:
    resource = {"name": "example.com/x", "socket": "s", "registration": "registered", "since": 0, **numbers}
    return json.dumps({"plugin": "bad", "pid": PID, "resources": [resource]}).encode()


@pytest.mark.parametrize(
    "content",
    [b'{"plugin": "\xff"}', b"[" * 100_000, None, _resource(capacity=int(ENORMOUS)), _resource(allocated=-(2**64))],
    ids=["bytes", "nested", "pipe", "digits", "negative"],
)
def test_a_bad_report_affects_only_that_plugin(tmp_path: Path, content: bytes | None) -> None:
    """The status names the file, and the metrics of the node are served."""
    run_dir = _run_dir(tmp_path)
    put(run_dir.report("bad"), content)
    status = Reader(run_dir).status(running=True)
    assert any(str(run_dir.report("bad")) in problem.message for problem in status.problems)
    assert b"dphub_ok" in expose(status, {})


def _integers(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.IntType]:
    """Yield the types of all integers in a type."""
    parts = [getattr(kind, name, None) for name in ("key_type", "value_type", "item_type")]
    parts += [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
    parts += [field.type for field in getattr(kind, "fields", ())]
    if isinstance(kind, msgspec.inspect.IntType):
        yield kind
    for part in filter(None, parts):
        yield from _integers(part)


@pytest.mark.parametrize(
    "kind", [InstanceReport, PluginReport, HeartbeatReport, CheckReport, HealthRecord, AllocationHistory]
)
def test_an_integer_has_a_limit(kind: type) -> None:
    """This holds in each report: a number with too many digits would otherwise be an error wherever it is used."""
    integers = list(_integers(msgspec.inspect.type_info(kind)))
    assert integers
    assert all((each.ge, each.le) == (-(2**63), 2**63 - 1) for each in integers)


def test_a_hubs_report_with_an_enormous_integer(tmp_path: Path) -> None:
    """It is an error that the readers of reports handle."""
    run_dir = _run_dir(tmp_path)
    report = run_dir.hub_report.read_bytes().replace(f'"pid":{PID}'.encode(), b'"pid":' + ENORMOUS)
    with pytest.raises(UnreadableError, match="Expected `int`"):
        decode_json(report, InstanceReport, "report")


@pytest.mark.parametrize("suffix", ["bad.json", "bad.heartbeat", "heartbeat"])
def test_a_link_in_a_circle_affects_only_one_plugin(tmp_path: Path, suffix: str) -> None:
    """Whatever file of the run directory it replaces, the rest of the status is shown."""
    run_dir = _run_dir(tmp_path)
    link = tmp_path / f"dphub.{suffix}"
    link.symlink_to(link.name)
    status = Reader(run_dir).status(running=True)
    assert [plugin.name for plugin in status.plugins] == ["bad"]


@pytest.mark.parametrize(("name", "problem"), [("x" * 1000, "File name too long"), ("a\0b", "embedded null")])
def test_a_plugin_whose_files_cannot_exist_affects_no_other(tmp_path: Path, name: str, problem: str) -> None:
    """No file can have such a name, and the rest of the status is shown."""
    status = Reader(_run_dir(tmp_path, name)).status(running=True)
    assert [plugin.name for plugin in status.plugins] == [name]
    assert any(problem in each.message for each in status.problems)


def test_notes_on_the_settings(tmp_path: Path) -> None:
    """They are shown, and need not be fixed."""
    run_dir = _run_dir(tmp_path, "gpu")
    report = PluginReport("gpu", PID, 1.0, scanned=True, notes=("x is ignored",))
    run_dir.report("gpu").write_bytes(msgspec.json.encode(report))
    status = Reader(run_dir).status(running=True)
    assert ("info", "gpu", "x is ignored") in [(each.severity, each.about, each.message) for each in status.problems]
