"""The health state machine, transition by transition."""

from collections.abc import Callable

import pytest

from hub.api.health import RecoveryPolicy
from hub.plugin.health.record import ANNOTATION, CORDONS, FLAPPING, Health, HealthRecord
from hub.plugin.health.record import UNCORDON as HOW

Step = Callable[[HealthRecord], None]

QUIET = RecoveryPolicy(stable_for=30, max_recoveries=3, window=3600)
AT_ONCE = RecoveryPolicy(stable_for=0, max_recoveries=3, window=3600)


def _fail(source: str = "driver", now: float = 100) -> Step:
    return lambda record: record.fail(source, f"{source} failed", now)


def _clear(source: str = "driver", now: float = 200, policy: RecoveryPolicy = QUIET) -> Step:
    return lambda record: record.clear(source, now, policy)


def _pass(now: float, policy: RecoveryPolicy = QUIET) -> Step:
    return lambda record: record.advance(now, policy)


def _try(now: float = 150) -> Step:
    return lambda record: record.begin_recovery("a retried reset", now)


def _flaps(count: int) -> list[Step]:
    return [step for n in range(count) for step in (_fail(now=100 + n), _clear(now=100 + n, policy=AT_ONCE))]


NEEDS_QUIET = "recovering, waiting for 30 s without a fault, after: driver failed"
RETRIED = "recovering, waiting for a retried reset (was: driver failed)"
HELD = f"recovered 3 times within 3600 s; {HOW}"
CORDON: Step = lambda record: record.set_admin_fault("cordon", "cordoned", 100)  # noqa: E731 - a step like those above
UNHOLD: Step = lambda record: record.clear_admin_fault("cordon")  # noqa: E731 - a step like those above
RELEASE: Step = lambda record: record.release()  # noqa: E731 - a step like those above

TABLE: list[tuple[str, list[Step], Health, str]] = [
    ("new", [], Health.HEALTHY, ""),
    ("a fault", [_fail()], Health.UNHEALTHY, "driver failed"),
    ("two sources", [_fail(), _fail("reset")], Health.UNHEALTHY, "driver failed; reset failed"),
    ("one of two clears", [_fail(), _fail("reset"), _clear()], Health.UNHEALTHY, "reset failed"),
    ("a stranger clears", [_fail(), _clear("stranger")], Health.UNHEALTHY, "driver failed"),
    ("the last clears", [_fail(), _clear()], Health.RECOVERING, NEEDS_QUIET),
    ("not quiet long enough", [_fail(), _clear(), _pass(229)], Health.RECOVERING, NEEDS_QUIET),
    ("quiet long enough", [_fail(), _clear(), _pass(230)], Health.HEALTHY, ""),
    ("a fault while recovering", [_fail(), _clear(), _fail("reset")], Health.UNHEALTHY, "reset failed"),
    ("no recovery time asked for", [_fail(), _clear(policy=AT_ONCE)], Health.HEALTHY, ""),
    ("a retry begins", [_fail(), _try()], Health.RECOVERING, RETRIED),
    ("time does not end a retry", [_fail(), _try(), _pass(9999)], Health.RECOVERING, RETRIED),
    ("a retry fails", [_fail(), _try(), _fail()], Health.UNHEALTHY, "driver failed"),
    ("a retry is given up", [_fail(), _try(), HealthRecord.abort_recovery], Health.UNHEALTHY, "driver failed"),
    ("recovery time is not given up", [_fail(), _clear(), HealthRecord.abort_recovery], Health.RECOVERING, NEEDS_QUIET),
    ("a retry succeeds", [_fail(), _try(), _clear(policy=AT_ONCE)], Health.HEALTHY, ""),
    ("nothing to retry", [_try()], Health.HEALTHY, ""),
    ("three recoveries", _flaps(3), Health.HEALTHY, ""),
    ("a fourth within the hour", _flaps(4), Health.UNHEALTHY, HELD),
    ("a flapping device is not retried", [*_flaps(4), _try()], Health.UNHEALTHY, HELD),
    ("time does not end it", [*_flaps(4), _pass(99_999)], Health.UNHEALTHY, HELD),
    ("a fourth after the hour", [*_flaps(3), _fail(now=5000), _clear(now=5000, policy=AT_ONCE)], Health.HEALTHY, ""),
    ("an administrator releases it", [*_flaps(4), RELEASE], Health.HEALTHY, ""),
    ("a cordon", [CORDON], Health.UNHEALTHY, "cordoned"),
    ("a cordon and a fault", [_fail(), CORDON], Health.UNHEALTHY, "cordoned; driver failed"),
    ("a cordon hides a recovery", [_fail(), CORDON, _clear()], Health.UNHEALTHY, f"cordoned; {NEEDS_QUIET}"),
    ("which goes on below", [_fail(), CORDON, _clear(), _pass(230), UNHOLD], Health.HEALTHY, ""),
    ("and is not cut short", [_fail(), _clear(), CORDON, UNHOLD], Health.RECOVERING, NEEDS_QUIET),
    ("no recovery time after a cordon", [CORDON, UNHOLD], Health.HEALTHY, ""),
    ("a release leaves other faults", [_fail(), CORDON, RELEASE], Health.UNHEALTHY, "driver failed"),
    ("a cordon's end fixes nothing", [_fail("broken"), CORDON, RELEASE], Health.UNHEALTHY, "broken failed"),
    ("a release confirms the repair", [_fail("broken"), RELEASE], Health.HEALTHY, ""),
    ("released, it may flap again", [*_flaps(4), RELEASE, *_flaps(2)], Health.HEALTHY, ""),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "state", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_transitions(steps: list[Step], state: Health, reason: str) -> None:
    """They match the table in the docstring of hub.plugin.health.record, with the text for an administrator."""
    record = HealthRecord()
    for step in steps:
        step(record)
    assert (record.state, record.reason) == (state, reason)


def test_a_fault_is_as_old_as_its_first_report() -> None:
    """If a fault is reported again with a different reason, it does not become more recent."""
    record = HealthRecord()
    record.fail("driver", "first", 100)
    record.fail("driver", "second", 200)
    assert record.faults["driver"].since == 100
    assert record.reason == "second"


def test_flapping_is_a_source_of_its_own() -> None:
    """The limit is shown as a fault like any other, so that the status can name it."""
    record = HealthRecord()
    for step in _flaps(4):
        step(record)
    assert list(record.faults) == [FLAPPING]


def test_the_two_cordons_are_independent() -> None:
    """The annotation and an administrator can each cordon a device; uncordoning ends both, and leaves other faults."""
    record = HealthRecord()
    record.fail("driver", "driver failed", 50)
    for source in CORDONS:
        record.set_admin_fault(source, f"cordoned by {source}", 100)
    record.clear_admin_fault(ANNOTATION)
    assert record.is_cordoned
    record.set_admin_fault(ANNOTATION, "cordoned by annotation", 100)
    assert record.release() == "cordoned by cordon; cordoned by annotation"
    assert not record.is_cordoned
    assert record.reason == "driver failed"
