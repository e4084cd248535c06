"""When a process is taken for hung."""

from hub.supervisor.watchdog import ProcessMonitor, Sample

LIMIT = 30.0


def _looks(*signs: Sample, passed: float = 10) -> list[str]:
    watched = ProcessMonitor(LIMIT, signs[0])
    return [watched.update(sign, passed) for sign in signs]


def test_a_process_that_turns_is_let_be() -> None:
    """However long it runs."""
    assert not any(_looks(*(Sample(n, heartbeat=True) for n in range(100))))


def test_one_that_stops_turning_is_hung() -> None:
    """After the limit, and not before."""
    looks = _looks(Sample(1, heartbeat=True), *[Sample(2, heartbeat=True)] * 5)
    assert looks[:5] == [""] * 5
    assert looks[5] == "its event loop has not run for 30 s"


def test_one_that_never_begins_is_hung() -> None:
    """After the same limit."""
    assert _looks(*[Sample(1)] * 4)[3] == "it did not start serving within 30 s"


def test_hardware_that_does_not_answer() -> None:
    """The same scan for longer than the limit, or than the plugin itself allows it."""
    assert (
        _looks(*(Sample(n, heartbeat=True, scan=7) for n in range(5)))[4] == "its hardware has not responded for 30 s"
    )
    assert not any(_looks(*(Sample(n, heartbeat=True, scan=n) for n in range(100))))
    slow = _looks(*(Sample(n, heartbeat=True, scan=7, scan_limit=60) for n in range(7)))
    assert slow == [""] * 6 + ["its hardware has not responded for 60 s"]


def test_what_was_not_observed_does_not_count() -> None:
    """A hub that did not look for long has no right to call others hung: time passes by its looks."""
    assert not any(
        _looks(Sample(1, heartbeat=True), Sample(2, heartbeat=True), Sample(2, heartbeat=True), passed=LIMIT / 2)
    )
