"""Which reports follow from NVSentinel's events."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.nvsentinel import incoming, wire
from hub.nvsentinel.incoming import WRITER, Incoming
from hub.nvsentinel.outgoing import AGENT
from hub.nvsentinel.wire import STORE_ONLY, HealthEvent, encode_events
from hub.rpc import ServiceError
from hub.status import externalreports
from hub.status.externalreports import ExternalReports
from tests.simulators.nvsentinel import event, request

UUID = ("GPU_UUID", "GPU-5ad2e0cd")
PCI = ("PCI", "0000:1B:00")
ADDRESS = "0000:1b:00.0"
NODE = "node-1"


class _Node:
    def __init__(self, directory: Path) -> None:
        self._reports = ExternalReports(directory / "external", WRITER)
        self.incoming = Incoming(self._reports, NODE)

    def take(self, *events: Any) -> dict[str, list[str]]:  # noqa: ANN401 - messages
        """Carry out events, and return the sources of the reports by device."""
        self.incoming.take(request(*events))
        return self.sources()

    def sources(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for report in sorted(self._reports.kept(), key=lambda each: each.source):
            found.setdefault(report.device, []).append(report.source)
        return found

    def reasons(self) -> list[str]:
        return [report.reason for report in self._reports.kept()]


@pytest.fixture
def node(directory: Path) -> _Node:
    """Make a node without reports."""
    return _Node(directory)


def test_an_unhealthy_event_and_its_end(node: _Node) -> None:
    """The report contains the words of the event, and the healthy event with the same entities ends it."""
    with capture_logs() as logs:
        broken = event("GpuMemWatch", [("GPU", "3"), PCI, UUID], message="row 7 is bad")
        assert node.take(broken) == {ADDRESS: ["nvsentinel/GpuMemWatch"]}
        assert node.reasons() == ["row 7 is bad"]
        assert node.take(event("GpuMemWatch", [("GPU", "3"), PCI, UUID], isHealthy=True)) == {}
    assert [each["event"] for each in logs] == ["external report received", "external report withdrawn"]


@pytest.mark.parametrize("value", ["0000:1b:00", "0000:1b:00.0", "00000000:1B:00.0", "0000:1B:00"])
def test_a_pci_address(node: _Node, value: str) -> None:
    """Each form in which monitors write an address becomes the one that plugins know."""
    assert list(node.take(event("A", [("PCI", value)]))) == [ADDRESS]


def test_an_event_with_a_uuid_only(node: _Node) -> None:
    """The report names the GPU by it; a message that is missing is replaced by the check's name."""
    assert list(node.take(event("A", [UUID]))) == [UUID[1]]
    assert node.reasons() == ["A"]


def test_a_check_ends_only_its_own_reports(node: _Node) -> None:
    """The device stays unhealthy until each check that has reported it says that it is healthy."""
    node.take(event("A", [PCI]), event("AB", [PCI]))
    assert node.take(event("A", [PCI], isHealthy=True)) == {ADDRESS: ["nvsentinel/AB"]}
    assert node.take(event("AB", [("PCI", "0000:1c:00")], isHealthy=True)) == {ADDRESS: ["nvsentinel/AB"]}


@pytest.mark.parametrize(
    ("reported", "healthy"),
    [
        (event("A-B", [PCI]), event("A/B", [PCI], isHealthy=True)),
        (event("A/B", [PCI]), event("A", [PCI], errorCode=["B"], isHealthy=True)),
        (event("A%2FB", [PCI]), event("A/B", [PCI], isHealthy=True)),
        (event("A", [PCI], errorCode=["1,2"]), event("A", [PCI], errorCode=["1", "2"], isHealthy=True)),
        (event("A\n", [PCI]), event("A\\n", [PCI], isHealthy=True)),
    ],
)
def test_names_that_look_alike_are_different(node: _Node, reported: Any, healthy: Any) -> None:  # noqa: ANN401 - messages
    """No check ends the report of another one, and no error code that of others, however they are called."""
    before = node.take(reported)
    assert before
    assert node.take(healthy) == before


def test_a_long_name_is_not_lost(node: _Node) -> None:
    """A name that is much longer when it is written with safe characters becomes a report that plugins accept."""
    reported = event("\u2603" * 100, [PCI], errorCode=["\u2603" * 20, "\u2604" * 20])
    ((source,),) = node.take(reported).values()
    assert len(source) < 500
    assert node.take(event("\u2603" * 99 + "x", [PCI], isHealthy=True))
    assert node.take(event("\u2603" * 100, [PCI], isHealthy=True)) == {}


def test_what_a_request_says_last_counts(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that change their mind a thousand times cost one file and one line of the log."""
    with capture_logs() as logs:
        found = node.take(*[event("A", [PCI], isHealthy=number % 2 == 1) for number in range(999)])
    assert found == {ADDRESS: ["nvsentinel/A"]}
    assert [each["event"] for each in logs] == ["external report received"]
    monkeypatch.setattr(incoming, "MAX_DEVICES", 2)
    with capture_logs() as logs:
        node.take(event("A", [PCI, PCI], isHealthy=True), event("B", [PCI]))
    assert node.sources() == {}
    assert logs[-1]["reason"] == "the request has more than 2 entities"


def test_error_codes(node: _Node) -> None:
    """A healthy event ends the reports with its codes; one without codes ends all reports of its check."""
    node.take(*(event("Xid", [PCI], errorCode=[code]) for code in ("48", "79", "94")))
    left = node.take(event("Xid", [PCI], errorCode=["79"], isHealthy=True))
    assert left == {ADDRESS: ["nvsentinel/Xid/48", "nvsentinel/Xid/94"]}
    assert node.take(event("Xid", [PCI], isHealthy=True)) == {}


def test_a_healthy_event_without_entities(node: _Node) -> None:
    """It is about all devices of its check; one about other entities, such as a GPU's number, ends nothing."""
    node.take(event("A", [PCI]), event("A", [UUID]), event("B", [UUID]))
    assert len(node.take(event("A", [("GPU", "0")], isHealthy=True))) == 2
    assert node.take(event("A", isHealthy=True)) == {UUID[1]: ["nvsentinel/B"]}


@pytest.mark.parametrize(
    "ignored",
    [
        event("A", [PCI], isFatal=False),
        event("A", [PCI], isFatal=False, recommendedAction=39),
        event("A", [PCI], nodeName="node-2"),
        event("A", [PCI], processingStrategy=STORE_ONLY),
        event("A", [PCI], agent=AGENT),
        event("A", [("GPU", "0"), ("NVLINK", "14")]),
        event("A"),
    ],
    ids=["not-fatal", "application", "node", "store-only", "own", "entities", "nothing"],
)
def test_events_that_make_no_device_unhealthy(node: _Node, ignored: Any) -> None:  # noqa: ANN401 - a message
    """They are warnings, errors in applications, events about other nodes, events that are only stored, or our own."""
    assert node.take(ignored) == {}


def test_what_counts_as_a_fault(directory: Path) -> None:
    """A recommended action, as later versions send it, is enough; with `all_events`, any other event is, too."""
    node = _Node(directory)
    assert node.take(event("A", [PCI], isFatal=False, recommendedAction=2, nodeName=NODE))
    node.take(event("A", [PCI], isHealthy=True))
    node.incoming = Incoming(ExternalReports(directory / "external", WRITER), NODE, all_events=True)
    assert node.take(event("A", [PCI], isFatal=False))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (event("A", [("PCI", "../../etc")]), 'the PCI address is "../../etc", expected one such as 0000:1b:00'),
        (event("A", [("GPU_UUID", "GPU-" + "x" * 101)]), "expected one such as GPU-5ad2e0cd"),
        (event("A", [("GPU_UUID", "example.com/serial ttyUSB0")]), "expected one such as GPU-5ad2e0cd"),
        (event("", [PCI]), "a name has 0 characters"),
        (event("A", [("GPU", "1")] * 65), "more than 64 entities"),
        (event("A", [PCI], errorCode=["x" * 50] * 2), "a name has 101 characters"),
        (event("A", [PCI], errorCode=["x"] * 65), "more than 64 entities or error codes"),
    ],
    ids=["pci", "long uuid", "uuid", "check", "entities", "long codes", "codes"],
)
def test_an_odd_event_affects_no_other(node: _Node, bad: Any, reason: str) -> None:  # noqa: ANN401 - a message
    """The events around it are carried out, and the log says what is wrong."""
    with capture_logs() as logs:
        found = node.take(event("A", [UUID]), bad, event("B", [UUID]))
    assert found == {UUID[1]: ["nvsentinel/A", "nvsentinel/B"]}
    (rejected,) = [each for each in logs if each["event"] == "NVSentinel events rejected"]
    assert (rejected["count"], reason in rejected["reason"]) == (1, True), rejected


def test_hostile_text(node: _Node) -> None:
    """Control characters and file names in an event reach neither the status nor a path; long text is cut."""
    node.take(event("../\x1b[2J", [PCI], message="\n" + "\x1b\u202e" * 2000))
    ((source,),) = node.sources().values()
    (reason,) = node.reasons()
    assert source.isprintable()
    assert source.count("/") == 1
    assert reason.isprintable()
    assert len(reason) == 500


@pytest.mark.parametrize("content", [b"\xff", b"\x12", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x02\xff\xff" * 3])
def test_what_is_not_a_request(node: _Node, content: bytes) -> None:
    """It is rejected as a whole, or event by event, and leaves no report."""
    with suppress(ServiceError):
        node.incoming.take(content)
    assert node.sources() == {}


def test_the_entities_of_an_event_are_parsed_once(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a healthy event with many entities does not depend on the number of reports."""
    for number in range(8):
        node.take(event("Check", [("PCI", f"0000:{number:02x}:00")]))
    parsed: list[HealthEvent] = []
    usual = incoming._devices

    def counted(event: HealthEvent) -> Iterator[tuple[str, str]]:
        parsed.append(event)
        return usual(event)

    monkeypatch.setattr(incoming, "_devices", counted)
    assert (
        len(node.take(event("Check", [("PCI", f"0000:{number:02x}:00") for number in range(7)], isHealthy=True))) == 1
    )
    assert len(parsed) == 1


def test_a_time_before_1970() -> None:
    """It is encoded as protobuf encodes negative numbers, instead of ending the process that sends it."""
    (encoded,) = wire.split_events(encode_events([HealthEvent("Check", is_healthy=False, time=-1.0)]))
    assert wire.decode_event(encoded).check == "Check"


def test_too_many_events(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request with more events than any monitor sends is rejected; reports have a maximum number."""
    monkeypatch.setattr(externalreports, "MAX_KEPT", 2)
    with capture_logs() as logs:
        node.take(*(event(f"A{number}", [PCI]) for number in range(4)))
    assert len(node.sources()[ADDRESS]) == 2
    assert logs[-1]["count"] == 2
    with pytest.raises(ServiceError, match="has 1001 events, expected at most 1000"):
        node.take(*[event("A", [PCI])] * (wire.MAX_EVENTS + 1))


def test_what_is_encoded_is_what_is_decoded() -> None:
    """All fields of an event survive, long and odd ones too."""
    known = HealthEvent(
        check="A" * 300,
        is_healthy=False,
        message="ü\x00",
        entities=[wire.Entity("PCI", ADDRESS)],
        codes=["79"],
        is_fatal=True,
        action=300,
        strategy=2,
        node=NODE,
        agent="a",
        component="GPU",
    )
    (content,) = wire.split_events(encode_events([known]))
    assert wire.decode_event(content) == known
