"""What a kubelet's checkpoint says about devices in use."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.base.jsonfile import replace_bytes
from hub.kubelet.checkpoint import CHECKPOINT, MAX_BYTES, MAX_NAMES, Checkpoint

RESOURCE = "example.com/stub"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the checkpoint, which does not exist yet."""
    return tmp_path / CHECKPOINT


def _entry(resource: str, ids: str) -> str:
    names = f'"PodUID":"5d1c","ContainerName":"main","ResourceName":"{resource}"'
    return f'{{{names},"DeviceIDs":{ids},"AllocResp":"CgoKBUNBUkRTEgFh"}}'


def _write(path: Path, *entries: str, checksum: int = 1) -> None:
    data = f'{{"PodDeviceEntries":[{",".join(entries)}],"RegisteredDevices":{{"{RESOURCE}":["b"]}}}}'
    replace_bytes(path, f'{{"Data":{data},"Checksum":{checksum}}}'.encode(), mode=0o600)


def test_devices_of_all_containers_with_their_numa_nodes(path: Path) -> None:
    """A device near two nodes is in the kubelet's lists of both, and one without a node in that of -1."""
    _write(path, _entry(RESOURCE, '{"1":["a","b"],"0":["a"]}'), _entry(RESOURCE, '{"-1":["c"]}'), _entry("x/y", "{}"))
    checkpoint = Checkpoint(path.parent)
    assert checkpoint.held(RESOURCE) == {"a": (0, 1), "b": (1,), "c": ()}
    assert checkpoint.held("x/y") == {}
    assert checkpoint.held("unknown/one") == {}


def test_a_change_is_noticed(path: Path) -> None:
    """It is noticed although nothing reports it."""
    checkpoint = Checkpoint(path.parent)
    assert checkpoint.held(RESOURCE) == {}
    _write(path, _entry(RESOURCE, '{"0":["a"]}'))
    assert checkpoint.held(RESOURCE) == {"a": (0,)}
    _write(path)
    assert checkpoint.held(RESOURCE) == {}
    path.unlink()
    assert checkpoint.held(RESOURCE) == {}


def test_what_is_empty_may_be_null(path: Path) -> None:
    """Go writes null for an empty list or map."""
    path.write_text('{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}')
    assert Checkpoint(path.parent).held(RESOURCE) == {}
    _write(path, _entry(RESOURCE, "null"), _entry(RESOURCE, '{"0":null}'))
    assert Checkpoint(path.parent).held(RESOURCE) == {}


def test_without_a_readable_file_nothing_is_known(path: Path) -> None:
    """This includes a checkpoint in the format of a later kubelet; it is logged once, until one can be read again."""
    checkpoint = Checkpoint(path.parent)
    with capture_logs() as log:
        for content in ("{}", '{"Version":2}'):
            replace_bytes(path, content.encode(), mode=0o600)
            assert checkpoint.held(RESOURCE) is None
            assert checkpoint.held(RESOURCE) is None
        assert [(line["event"], line["path"]) for line in log] == [("checkpoint unreadable", str(path))]
        _write(path, _entry(RESOURCE, '{"0":["a"]}'))
        assert checkpoint.held(RESOURCE) == {"a": (0,)}
        path.unlink()
        path.mkdir()
        assert checkpoint.held(RESOURCE) is None
    assert len(log) == 2


def test_a_device_that_is_listed_very_often(path: Path) -> None:
    """It counts as one device, and does not take longer to read; otherwise the plugins would hang."""
    names = ",".join(['"a"'] * MAX_NAMES)
    _write(path, _entry(RESOURCE, f'{{"0":[{names}],"-1":null}}'), _entry("x/y", '{"1":[]}'))
    assert Checkpoint(path.parent).held(RESOURCE) == {"a": (0,)}


def test_an_enormous_checkpoint_is_unreadable(path: Path) -> None:
    """No kubelet writes one: containers on a node hold tens of thousands of devices at most."""
    half = ",".join(['"a"'] * (MAX_NAMES // 2))
    _write(path, _entry(RESOURCE, f'{{"0":[{half}]}}'), _entry("x/y", f'{{"0":[{half}],"1":["b"]}}'))
    with capture_logs() as log:
        assert Checkpoint(path.parent).held(RESOURCE) is None
        _write(path, _entry(RESOURCE, "null"), " " * MAX_BYTES)
        assert Checkpoint(path.parent).held(RESOURCE) is None
    assert [line["reason"].split(",")[0] for line in log] == ["lists more than 65536 devices", "too large"]
