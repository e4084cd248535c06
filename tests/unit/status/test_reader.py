"""What the hub shows when a process has written nonsense."""

import os
from pathlib import Path

import msgspec
import pytest

from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import PluginReport
from hub.status.prometheus import expose
from hub.status.reader import Reader
from tests.harness.files import put

PID = os.getpid()


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
    ],
    ids=["bytes", "nested", "empty", "pipe", "name", "label", "buckets", "number"],
)
def test_a_bad_heartbeat_costs_only_itself(tmp_path: Path, content: bytes | None) -> None:
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


@pytest.mark.parametrize("content", [b'{"plugin": "\xff"}', b"[" * 100_000, None], ids=["bytes", "nested", "pipe"])
def test_a_bad_report_costs_only_that_plugin(tmp_path: Path, content: bytes | None) -> None:
    """The status names the file."""
    run_dir = _run_dir(tmp_path)
    put(run_dir.report("bad"), content)
    status = Reader(run_dir).status(running=True)
    assert any(str(run_dir.report("bad")) in problem.message for problem in status.problems)


@pytest.mark.parametrize("suffix", ["bad.json", "bad.heartbeat", "heartbeat"])
def test_a_link_in_a_circle_costs_one_plugin(tmp_path: Path, suffix: str) -> None:
    """Whatever file of the run directory it replaces: the rest of the status is shown."""
    run_dir = _run_dir(tmp_path)
    link = tmp_path / f"dphub.{suffix}"
    link.symlink_to(link.name)
    status = Reader(run_dir).status(running=True)
    assert [plugin.name for plugin in status.plugins] == ["bad"]


@pytest.mark.parametrize(("name", "problem"), [("x" * 1000, "File name too long"), ("a\0b", "null byte")])
def test_a_plugin_whose_files_cannot_exist_costs_only_itself(tmp_path: Path, name: str, problem: str) -> None:
    """No file has such a name; the rest of the status is shown."""
    status = Reader(_run_dir(tmp_path, name)).status(running=True)
    assert [plugin.name for plugin in status.plugins] == [name]
    assert any(problem in each.message for each in status.problems)


def test_notes_on_the_settings(tmp_path: Path) -> None:
    """They are shown, and are nothing that has to be fixed."""
    run_dir = _run_dir(tmp_path, "gpu")
    report = PluginReport("gpu", PID, 1.0, scanned=True, notes=("x is ignored",))
    run_dir.report("gpu").write_bytes(msgspec.json.encode(report))
    status = Reader(run_dir).status(running=True)
    assert ("info", "gpu", "x is ignored") in [(each.severity, each.about, each.message) for each in status.problems]
