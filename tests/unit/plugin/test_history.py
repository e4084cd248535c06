"""Which containers used which devices, and for how long, tested in this process with a clock of its own."""

import random
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.base.jsonfile import read_file
from hub.model.history import Allocation, AllocationHistory, HealthChange
from hub.plugin.history import KEPT, MAX_CHANGES, MAX_GAP, MAX_REASON, MAX_SUMS, REMOVED, History
from tests.unit.plugin.plugin_setup import FAILED, STUB, Setup

START = int(time.time())
"""The present, not an arbitrary time, because the file system uses the real time."""

PERIOD = 30

Held = Mapping[tuple[str, str], str]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        """Return the Unix time."""
        return self.now


class Process:
    """A plugin process on a node, with the parts that its history needs."""

    def __init__(self, path: Path, clock: Clock, *devices: Device) -> None:
        self.it = Setup()
        self.history = History(path, self.it.inventory, self.it.ownership, self.it.metrics, clock)
        if devices:
            self.it.scan(*devices)

    def seconds(self) -> dict[tuple[str, str], float]:
        """Return the seconds that it publishes, by resource and namespace."""
        (metric,) = (each for each in self.it.metrics.metrics() if each.name == "dphub_device_held_seconds_total")
        values = {(each.labels["resource"], each.labels["namespace"]): each.value for each in metric.samples}
        return {labels: value for labels, value in values.items() if isinstance(value, float)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file of the history."""
    return tmp_path / "stub.history.json"


@pytest.fixture
def clock() -> Clock:
    """Create the node's clock."""
    return Clock()


def _held(**holders: str) -> Held:
    return {(STUB, device): holder for device, holder in holders.items()}


def _kept(path: Path) -> list[Allocation]:
    found = read_file(path, AllocationHistory)
    assert found
    return list(found.allocations)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _version(path: Path) -> tuple[int, float]:
    """Return the inode and the modification time."""
    return path.stat().st_ino, path.stat().st_mtime


async def test_the_times_of_each_allocation(path: Path, clock: Clock) -> None:
    """The times come from the kubelet's responses; devices of other plugins are not recorded."""
    process = Process(path, clock, Device("a", physical="card"), Device("b"))
    process.history.update({**_held(a="ns/one/main"), ("other.com/x", "a"): "ns/one/main"})
    clock.now += PERIOD
    process.history.update(_held(a="ns/two/main", b="ns/two/main"))
    clock.now += PERIOD
    process.history.update(_held(b="ns/two/main"))
    assert _kept(path) == [
        Allocation(STUB, "a", "ns/one/main", START, START + PERIOD, "card"),
        Allocation(STUB, "a", "ns/two/main", START + PERIOD, START + 2 * PERIOD, "card"),
        Allocation(STUB, "b", "ns/two/main", START + PERIOD),
    ]


async def test_seconds_are_counted_by_namespace(path: Path, clock: Clock) -> None:
    """Each device counts, and each share of one, while it is in use; the sum stays afterwards."""
    process = Process(path, clock, Device("a"), Device("b"), Device("c"))
    process.history.update(_held(a="red/one/main", b="red/two/main", c="blue/one/main"))
    assert process.seconds() == {(STUB, "red"): 0, (STUB, "blue"): 0}
    clock.now += PERIOD
    process.history.update(_held(a="red/one/main"))
    assert process.seconds() == {(STUB, "red"): 2 * PERIOD, (STUB, "blue"): PERIOD}
    clock.now += PERIOD
    process.history.update(_held(a="red/one/main"))
    assert process.seconds() == {(STUB, "red"): 3 * PERIOD, (STUB, "blue"): PERIOD}


async def test_a_restart_continues(path: Path, clock: Clock) -> None:
    """The next process knows how long a container has had a device, and continues counting."""
    Process(path, clock, Device("a")).history.update(_held(a="ns/one/main"))
    clock.now += 1000
    process = Process(path, clock, Device("a"))
    process.history.update(_held(a="ns/one/main"))
    assert _kept(path) == [Allocation(STUB, "a", "ns/one/main", START)]
    assert process.seconds() == {(STUB, "ns"): 1000}


async def test_a_container_that_ended_while_no_plugin_ran(path: Path, clock: Clock) -> None:
    """It counts up to the last response that named it, but not for the time without responses."""
    before = Process(path, clock, Device("a"))
    for _ in range(3):
        before.history.update(_held(a="ns/one/main"))
        clock.now += PERIOD
    clock.now += MAX_GAP
    after = Process(path, clock, Device("a"))
    after.history.update({})
    assert _kept(path) == [Allocation(STUB, "a", "ns/one/main", START, START + 2 * PERIOD)]
    assert after.seconds() == before.seconds() == {(STUB, "ns"): 2 * PERIOD}


@pytest.mark.parametrize("failed", [False, True], ids=["before the first scan", "after a scan that failed"])
async def test_devices_that_are_not_known_yet(path: Path, clock: Clock, *, failed: bool) -> None:
    """A container still has its device if the plugin cannot see it at the moment."""
    Process(path, clock, Device("a")).history.update(_held(a="ns/one/main"))
    clock.now += PERIOD
    process = Process(path, clock)
    if failed:
        process.it.inventory.update(FAILED)
    process.history.update(_held(a="ns/one/main"))
    process.it.scan(Device("a"))
    process.history.update(_held(a="ns/one/main"))
    assert _kept(path) == [Allocation(STUB, "a", "ns/one/main", START)]


async def test_seconds_never_fall(path: Path, clock: Clock) -> None:
    """This holds whatever containers do, wherever the process is killed, and even if the clock is set back.

    Prometheus interprets a counter that falls as one that restarted, and would count everything twice.
    """
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    print(f"seed {seed}")  # noqa: T201 - so that a failure can be repeated
    rng = random.Random(seed)  # noqa: S311 - not a secret
    devices = [Device(name) for name in "abcd"]
    process = Process(path, clock, *devices)
    seen: dict[tuple[str, str], float] = {}
    for _ in range(400):
        if rng.random() < 0.1:
            process = Process(path, clock, *devices)
        elif rng.random() < 0.05:
            clock.now -= rng.uniform(0, 10)
        clock.now += rng.choice([0.0, 0.3, 17.7, PERIOD, 10 * MAX_GAP])
        holders = {each.id: f"{rng.choice('xy')}/{rng.choice('pq')}/main" for each in devices}
        process.history.update(_held(**{name: holders[name] for name in holders if rng.random() < 0.7}))
        seconds = process.seconds()
        assert {key: value for key, value in seen.items() if seconds.get(key, 0) < value} == {}
        seen = seconds
    assert all(seen.values())


async def test_health_while_it_is_in_use(path: Path, clock: Clock) -> None:
    """The history says what happened to the device, when and why, even if it was unhealthy from the beginning."""
    process = Process(path, clock, Device("a"), Device("b", unhealthy="no link"))
    process.history.update(_held(a="ns/one/main", b="ns/one/main"))
    clock.now += 5
    process.it.scan(Device("a", unhealthy="X" * 1000), Device("b", unhealthy="no link"))
    process.history.note_health()
    clock.now += 5
    process.it.scan(Device("b", unhealthy="no link"))
    process.history.update(_held(a="ns/one/main", b="ns/one/main"))
    first, second = _kept(path)
    assert first.health == (
        HealthChange(START + 5, "unhealthy", "X" * MAX_REASON),
        HealthChange(START + 10, "unhealthy", REMOVED),
    )
    assert second.health == (HealthChange(START, "unhealthy", "no link"),)


async def test_the_history_is_bounded(path: Path, clock: Clock) -> None:
    """The oldest allocations, changes of health, and namespaces that use nothing are dropped first."""
    process = Process(path, clock, Device("a"), Device("b"))
    for number in range(KEPT + 5):
        process.history.update(_held(a=f"ns{number}/pod/main", b="always/pod/main"))
        clock.now += PERIOD
    process.history.update(_held(b="always/pod/main"))
    kept = _kept(path)
    assert [each.holder for each in kept[:1]] == ["ns5/pod/main"]
    assert len(kept) == KEPT + 1
    assert len(process.seconds()) == MAX_SUMS + 1
    assert process.seconds()[STUB, "always"] == (KEPT + 5) * PERIOD
    for number in range(MAX_CHANGES + 5):
        process.it.scan(Device("a"), Device("b", unhealthy=f"fault {number}"))
        process.history.update(_held(b="always/pod/main"))
    *_, last = _kept(path)
    assert [change.reason for change in last.health] == [f"fault {number}" for number in range(5, MAX_CHANGES + 5)]


@pytest.mark.parametrize(
    "content", ["{nonsense", '{"allocations": [{"resource": 1}]}', '{"ended": [{"seconds": 1.5}]}']
)
async def test_a_file_that_cannot_be_read_affects_only_the_history(path: Path, clock: Clock, content: str) -> None:
    """It is set aside, the log gives the reason, and a new history begins; nothing else is affected."""
    _write(path, content)
    process = Process(path, clock, Device("a"))
    with capture_logs() as log:
        process.history.update(_held(a="ns/one/main"))
    (line,) = log
    aside = path.with_name("stub.history.unreadable")
    assert (line["event"], line["log_level"], line["kept"]) == ("history unreadable", "warning", str(aside))
    assert _text(aside) == content
    assert _kept(path) == [Allocation(STUB, "a", "ns/one/main", START)]


async def test_only_the_owner_keeps_it(path: Path, clock: Clock) -> None:
    """During an upgrade the newer hub counts; the older one continues with its history if that hub exits."""
    older, newer = (Process(path, clock, Device("a"), Device("b")) for _ in range(2))
    older.history.update(_held(a="ns/one/main"))
    older.it.ownership.newer = ["newer"]
    clock.now += PERIOD
    newer.history.update(_held(a="ns/one/main", b="ns/two/main"))
    older.history.update({})
    older.history.note_health()
    assert older.seconds() == {}
    assert newer.seconds() == {(STUB, "ns"): PERIOD}
    assert [each.until for each in _kept(path)] == [0, 0]
    older.it.ownership.newer = []
    clock.now += PERIOD
    older.history.update(_held(a="ns/one/main", b="ns/two/main"))
    assert older.seconds() == {(STUB, "ns"): 3 * PERIOD}


async def test_a_clock_that_was_set_back(path: Path, clock: Clock) -> None:
    """After a restart, the published value stays, since Prometheus would count a smaller one again; then it grows."""
    process = Process(path, clock, Device("a"))
    process.history.update(_held(a="ns/one/main"))
    clock.now += 9000
    process.history.update(_held(a="ns/one/main"))
    assert process.seconds() == {(STUB, "ns"): 9000}
    clock.now -= 5000
    process = Process(path, clock, Device("a"))
    process.history.update(_held(a="ns/one/main"))
    assert process.seconds() == {(STUB, "ns"): 9000}
    clock.now += PERIOD
    process.history.update({})
    assert process.seconds() == {(STUB, "ns"): 9000 + PERIOD}
    assert _kept(path) == [Allocation(STUB, "a", "ns/one/main", START + 4000, START + 4000 + PERIOD)]


async def test_an_answer_without_a_change_writes_nothing(path: Path, clock: Clock) -> None:
    """It only sets the time of the file, so a busy node does not write its history twice a minute."""
    process = Process(path, clock, Device("a"))
    process.history.update({})
    assert _text(path) is None
    process.history.update(_held(a="ns/one/main"))
    before, _ = _version(path)
    clock.now += PERIOD
    process.history.update(_held(a="ns/one/main"))
    assert _version(path) == (before, START + PERIOD)
