"""When a process counts as hung."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.base.paths import RunDir
from hub.model.heartbeat import heartbeat_age
from hub.supervisor.watchdog import ProcessMonitor, Sample, Watchdog
from tests.harness.files import put

LIMIT = 30.0


def _looks(*signs: Sample, passed: float = 10) -> list[str]:
    watched = ProcessMonitor(LIMIT, signs[0])
    return [watched.update(sign, passed) for sign in signs]


def test_a_process_with_heartbeats_is_not_killed() -> None:
    """A process whose heartbeats continue is never killed, however long it runs."""
    assert not any(_looks(*(Sample(n, heartbeat=True) for n in range(100))))


def test_a_process_whose_heartbeats_stop_is_hung() -> None:
    """A process whose heartbeats stop counts as hung after the limit, and not before."""
    looks = _looks(Sample(1, heartbeat=True), *[Sample(2, heartbeat=True)] * 5)
    assert looks[:5] == [""] * 5
    assert looks[5] == "its event loop has not run for 30 s"


def test_a_process_without_a_first_heartbeat_is_hung() -> None:
    """It has at least a minute, because a busy node starts processes slowly, or a longer limit of its own."""
    looks = _looks(*[Sample(1)] * 7)
    assert looks == [""] * 6 + ["it did not start serving within 60 s"]
    monitor = ProcessMonitor(90, Sample(1))
    assert [monitor.update(Sample(1), 30) for _ in range(4)] == [""] * 3 + ["it did not start serving within 90 s"]


def test_hardware_that_does_not_answer() -> None:
    """A scan hangs if it takes longer than the limit, and than the plugin itself allows."""
    assert (
        _looks(*(Sample(n, heartbeat=True, scan=7) for n in range(5)))[4] == "its hardware has not responded for 30 s"
    )
    assert not any(_looks(*(Sample(n, heartbeat=True, scan=n) for n in range(100))))
    slow = _looks(*(Sample(n, heartbeat=True, scan=7, scan_limit=60) for n in range(7)))
    assert slow == [""] * 6 + ["its hardware has not responded for 60 s"]


def test_unobserved_time_does_not_count() -> None:
    """Time is measured by the hub's checks: if it made none for a long time, no process counts as hung for that."""
    assert not any(
        _looks(Sample(1, heartbeat=True), Sample(2, heartbeat=True), Sample(2, heartbeat=True), passed=LIMIT / 2)
    )


@pytest.mark.parametrize("content", [b'{"pid": 1, "log_level": "\xff"}', b"", None], ids=["bytes", "empty", "pipe"])
def test_a_heartbeat_file_of_any_kind_does_not_stop_the_hub(tmp_path: Path, content: bytes | None) -> None:
    """Even if it is a pipe that no process writes to, the other plugins are still watched."""
    run_dir = RunDir(tmp_path)
    put(run_dir.heartbeat("bad"), content)
    run_dir.heartbeat("good").write_text('{"pid": 2, "scan": 7}')
    config = SimpleNamespace(watchdog=LIMIT, is_hub_plugin=True)
    watchers = [SimpleNamespace(name=name, config=config, processes=[pid]) for name, pid in (("bad", 1), ("good", 2))]
    arbiter: Any = SimpleNamespace(watchers=watchers)
    watchdog = Watchdog(run_dir, arbiter)
    watchdog._check_plugins(10)
    assert {pid: monitor._last.scan for pid, monitor in watchdog._watched.items()} == {1: 0, 2: 7}


@pytest.mark.parametrize("target", ["nowhere", "bad"])
def test_a_link_in_place_of_a_heartbeat_file(tmp_path: Path, target: str) -> None:
    """It is not followed: no file is created elsewhere, the process is watched, and the hub's heartbeat is seen."""
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    run_dir.heartbeat("bad").symlink_to(tmp_path / "nowhere" if target == "nowhere" else run_dir.heartbeat("bad"))
    run_dir.hub_heartbeat.symlink_to(tmp_path / "nowhere")
    config = SimpleNamespace(watchdog=LIMIT, is_hub_plugin=True)
    arbiter: Any = SimpleNamespace(watchers=[SimpleNamespace(name="bad", config=config, processes=[1])])
    watchdog = Watchdog(run_dir, arbiter)
    watchdog.beat()
    watchdog._check_plugins(10)
    assert list(watchdog._watched) == [1]
    assert 0 < heartbeat_age(run_dir.hub_heartbeat) < LIMIT
    assert not (tmp_path / "nowhere").exists()
