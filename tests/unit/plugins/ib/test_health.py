"""Ports that go down and up: which states count, and when."""

import pytest

from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.health import PortWatch
from plugins.ib.settings import PoolHealth, PortRule

ANY, ALL, NONE = PortRule.ANY, PortRule.ALL, PortRule.NONE
USUAL = PoolHealth()


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def _hca(*states: str) -> Hca:
    ports = tuple(Port(number, state, "LinkUp", "InfiniBand", 200) for number, state in enumerate(states, 1))
    return Hca("0000:07:00.0", "15b3", "101b", "mlx5_core", 0, (), (), name="mlx5_0", ports=ports, uverbs="uverbs0")


def _see(watch: PortWatch, *states: str) -> Hca:
    hca = _hca(*states)
    watch.update({(hca.name, port.number): (port.state, port.phys_state) for port in hca.ports})
    return hca


def test_a_port_that_goes_down_counts_after_a_delay() -> None:
    """The time counts from when it went down, and starts again if it was up in between."""
    clock = Clock()
    watch = PortWatch(clock)
    _see(watch, "ACTIVE")
    hca = _see(watch, "DOWN")
    clock.now += 1.9
    assert watch.fault(_see(watch, "INIT"), ANY, USUAL) == ""
    assert watch.fault(_see(watch, "ACTIVE"), ANY, USUAL) == ""
    _see(watch, "DOWN")
    clock.now += 1
    assert watch.fault(hca, ANY, USUAL) == ""
    clock.now += 1
    assert watch.fault(hca, ANY, USUAL) == "port 1 of mlx5_0 is DOWN (LinkUp)"


def test_a_port_that_comes_up_counts_after_a_delay() -> None:
    """A port that counted as down has to stay up; if it goes down in the meantime, the time starts again."""
    clock = Clock()
    watch = PortWatch(clock)
    hca = _see(watch, "DOWN")
    hca = _see(watch, "ACTIVE")
    clock.now += 4.9
    assert watch.fault(hca, ANY, USUAL) == "port 1 of mlx5_0 was down, and must first be ACTIVE for 5 s"
    assert watch.ports_down([USUAL])
    clock.now += 0.1
    assert watch.fault(hca, ANY, USUAL) == ""
    assert not watch.ports_down([USUAL])


def test_a_port_that_was_never_up_is_down() -> None:
    """There is no time to wait for."""
    watch = PortWatch(Clock())
    assert watch.fault(_see(watch, "DOWN"), ANY, USUAL) != ""


@pytest.mark.parametrize(
    ("states", "rule", "bad"),
    [
        (["ACTIVE", "DOWN"], ANY, False),
        (["ACTIVE", "DOWN"], ALL, True),
        (["ACTIVE", "ACTIVE_DEFER"], ALL, False),
        (["DOWN", "ARMED"], ANY, True),
        (["DOWN", "DOWN"], NONE, False),
        ([], ANY, True),
        ([], NONE, False),
    ],
)
def test_rules_for_several_ports(states: list[str], rule: PortRule, *, bad: bool) -> None:
    """Any port, all ports, or none has to be up."""
    watch = PortWatch(Clock())
    assert bool(watch.fault(_see(watch, *states), rule, PoolHealth(down=0))) is bad


def test_a_device_of_the_same_name_is_another_one() -> None:
    """The state of a removed device does not apply to a new one."""
    clock = Clock()
    watch = PortWatch(clock)
    _see(watch, "ACTIVE")
    watch.update({})
    assert watch.fault(_see(watch, "DOWN"), ANY, USUAL) != ""
