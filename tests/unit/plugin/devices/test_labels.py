"""What a plugin returns as labels of the node."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from hub import Device, NoDevices, Plugin
from hub.base.featurefiles import MAX_LABELS
from hub.plugin.devices.scan import scan

LABEL = {"example.com/model": "x1"}


class Labelled(Plugin):
    """A plugin whose labels are whatever the test specifies."""

    resource = "example.com/labelled"

    def __init__(self, answer: object = LABEL, failure: Exception | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.failure = failure
        self.asked: list[Sequence[Device]] = []

    def devices(self) -> Iterator[Device]:
        """Yield one device, then fail if the test requires it."""
        yield Device("a")
        if self.failure:
            raise self.failure

    def prepare(self, devices: Sequence[Device]) -> Iterator[Device]:
        """Return each device with a fault."""
        return (device.with_fault("prepared") for device in devices)

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        """Return what the test specifies."""
        self.asked.append(devices)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value] # the point of these tests


def _scanned(plugin: Plugin) -> tuple[Mapping[str, str] | None, str]:
    found = scan(plugin, prepares=True, labels=True)
    assert not found.failed
    return found.labels


def test_labels_of_a_plugin() -> None:
    """The plugin is called once for each scan, with the devices that are advertised."""
    plugin = Labelled()
    assert _scanned(plugin) == (LABEL, "")
    assert [[device.unhealthy for device in devices] for devices in plugin.asked] == [["prepared"]]


def test_a_plugin_without_labels() -> None:
    """The plugin has no labels, which is not a mistake."""
    assert scan(Plugin(), prepares=True, labels=True).labels == (None, "")

    class Few(Labelled):
        labels = Plugin.labels  # type: ignore[assignment]

    assert _scanned(Few()) == ({}, "")


def test_labels_that_are_not_read() -> None:
    """If the hub writes no labels, it does not query plugins for them."""
    plugin = Labelled()
    assert scan(plugin, prepares=True).labels == (None, "")
    assert plugin.asked == []


def test_hardware_that_is_not_there() -> None:
    """The labels match those of a node without the hardware; after a fault they stay unchanged."""
    plugin = Labelled({}, NoDevices("no such hardware"))
    assert _scanned(plugin) == ({}, "")
    assert plugin.asked == [[]]
    for failure in (NoDevices("no driver", fault=True), RuntimeError("no driver")):
        plugin = Labelled(failure=failure)
        assert (scan(plugin, prepares=True, labels=True).labels, plugin.asked) == ((None, ""), [])


def test_an_invalid_label_is_dropped() -> None:
    """Only that label is left out; the message names it and the reason."""
    labels, problem = _scanned(Labelled({**LABEL, "model": "x", "example.com/\x1b": "x", "example.com/text": "a b"}))
    assert labels == LABEL
    assert "'model': 'x': the name has no domain" in problem
    assert "'example.com/text': 'a b': expected a value of at most 63 letters" in problem
    assert problem.isprintable()


@pytest.mark.parametrize("name", ["dphub.dev/labelled.health", "dphub.dev/gpu.health", "dphub.dev/gpu.unhealthy"])
def test_labels_of_the_hub(name: str) -> None:
    """Only the hub can say whether devices are healthy; no plugin can, for its own devices or another plugin's."""
    labels, problem = _scanned(Labelled({**LABEL, name: "healthy", "dphub.dev/rdma.capable": "true"}))
    assert labels == {**LABEL, "dphub.dev/rdma.capable": "true"}
    assert "only the hub may set this label" in problem


class _Endless(Mapping[str, str]):
    """An endless mapping of labels."""

    def __getitem__(self, name: str) -> str:
        return "x"

    def __iter__(self) -> Iterator[str]:
        return (f"example.com/{number}" for number in range(10_000_000))

    def __len__(self) -> int:
        return 10_000_000


def test_labels_without_end() -> None:
    """They are an error, and the node keeps the labels that it has."""
    labels, problem = _scanned(Labelled(_Endless()))
    assert labels is None
    assert "it returned more than 10000 labels" in problem


def test_many_invalid_labels() -> None:
    """The message names a few of them."""
    labels, problem = _scanned(Labelled({str(number): "x" for number in range(1000)}))
    assert labels == {}
    assert problem.endswith("; 992 more labels with a problem")


def test_too_many_labels() -> None:
    """Labels beyond the number that fits in a file are dropped."""
    labels, problem = _scanned(Labelled({f"example.com/{number}": "x" for number in range(MAX_LABELS + 1)}))
    assert len(labels or {}) == MAX_LABELS
    assert problem == f"{MAX_LABELS + 1} labels, expected at most {MAX_LABELS}: only the first ones count"


class Hostile(dict[Any, Any]):
    """A mapping that cannot be read."""

    def keys(self) -> Any:  # noqa: ANN401 - it returns nothing
        """Fail."""
        raise RuntimeError("no keys")

    __iter__ = keys


@pytest.mark.parametrize("answer", [None, "x", [LABEL], RuntimeError("no\nlabels"), {3: "x", ("a",): "y"}, Hostile()])
def test_other_answers(answer: object) -> None:
    """The devices are served anyway, and the message gives the location of the method, or the label."""
    labels, problem = _scanned(Labelled(answer))
    assert labels in (None, {})
    assert problem.isprintable()
    assert "labels() failed at" in problem or "expected strings by name" in problem
