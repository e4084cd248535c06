"""What the kernel shows, as plugins read it."""

import os
from pathlib import Path

import pytest

from hub import (
    Host,
    link_name,
    natural_order,
    pci_functions,
    process_name,
    read_attribute,
    read_number,
    sorted_entries,
)
from tests.harness.files import put


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    """They are compared as numbers, so the tenth device does not come second."""
    names = ["video10", "video2", "card0", "video", "10", "9"]
    assert sorted(names, key=natural_order) == ["9", "10", "card0", "video", "video2", "video10"]
    assert natural_order("9" * 5000) > natural_order("8" * 5000)
    for name in names:
        put(tmp_path / name, b"")
    assert [path.name for path in sorted_entries(tmp_path)] == sorted(names, key=natural_order)
    assert list(sorted_entries(tmp_path / "none")) == []


ATTRIBUTES: dict[str, tuple[bytes | str | None, str]] = {
    "a line": (b" 0x10de\n", "0x10de"),
    "several lines": (b"a\nb\n", "a b"),
    "bytes that are not text": (b"a\xff\x1b[1m", "a\ufffd\ufffd[1m"),
    "a pipe": (None, ""),
    "a link": ("/dev/zero", ""),
}


@pytest.mark.parametrize(("content", "text"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_an_attribute_is_one_line_of_text(tmp_path: Path, content: bytes | str | None, text: str) -> None:
    """This holds whatever it contains; an attribute that is missing or cannot be read is empty."""
    put(tmp_path / "x", content)
    assert read_attribute(tmp_path / "x") == text
    assert read_attribute(tmp_path / "none") == ""


NUMBERS = {
    b"0\n": 0,
    b"17": 17,
    b"-1": None,
    b"": None,
    "²".encode(): None,
    b"9" * 5000: None,
    b"1.5": None,
    b"\xff": None,
    b"many": None,
}


@pytest.mark.parametrize("content", NUMBERS)
def test_a_number_is_a_sensible_one(tmp_path: Path, content: bytes) -> None:
    """The kernel writes -1 for an unknown NUMA node, which does not count as a number."""
    put(tmp_path / "x", content)
    assert read_number(tmp_path / "x") == NUMBERS[content]


def test_the_name_behind_a_link(tmp_path: Path) -> None:
    """It is returned whether the target exists or not; a file that is not a link has none."""
    put(tmp_path / "driver", "../../bus/pci/drivers/xe")
    put(tmp_path / "file", b"x")
    assert [link_name(tmp_path / name) for name in ("driver", "file", "none")] == ["xe", "", ""]


def _function(root: Path, address: str, **attributes: str) -> None:
    directory = root / "sys/bus/pci/devices" / address
    directory.mkdir(parents=True)
    for name, value in attributes.items():
        put(directory / name, f"{value}\n".encode())


def test_functions_on_the_pci_bus(tmp_path: Path) -> None:
    """They are found by vendor and class and sorted by address; what is not an address is left out."""
    _function(tmp_path, "10000:01:00.0", vendor="0x8086", **{"class": "0x030000"})
    _function(tmp_path, "0000:4d:00.0", vendor="0x8086", device="0x56C0", numa_node="1", **{"class": "0x038000"})
    _function(tmp_path, "0000:18:00.0", vendor="0x10de", numa_node="-1", **{"class": "0x030200"})
    _function(tmp_path, "0000:19:00.0", vendor="nonsense")
    _function(tmp_path, "nonsense", vendor="0x8086", **{"class": "0x030000"})
    put(tmp_path / "sys/bus/pci/devices/0000:4d:00.0/driver", "../../drivers/xe")
    put(tmp_path / "sys/bus/pci/devices/0000:4d:00.0/physfn", "../0000:4c:00.0")
    every = [each.address for each in pci_functions(Host(tmp_path))]
    assert every == ["0000:18:00.0", "0000:19:00.0", "0000:4d:00.0", "10000:01:00.0"]
    found = list(pci_functions(Host(tmp_path), vendor="8086", class_code="03"))
    assert [str(each) for each in found] == ["0000:4d:00.0 (8086:56c0)", "10000:01:00.0 (8086:)"]
    first = found[0]
    assert (first.driver, first.numa, first.physical_function, first.class_code) == ("xe", 1, "0000:4c:00.0", "038000")
    (nvidia,) = pci_functions(Host(tmp_path), vendor="10de")
    assert (nvidia.driver, nvidia.numa, nvidia.physical_function) == ("", None, "")
    assert list(pci_functions(Host(tmp_path / "none"))) == []


def test_the_name_of_a_process(tmp_path: Path) -> None:
    """Any name is read, because a process chooses its name itself."""
    put(tmp_path / "proc/7/comm", b"a\x1bb\xff\n")
    assert process_name(Host(tmp_path), 7) == "a\ufffdb\\xff"
    assert process_name(Host(tmp_path), "8") == ""
    assert process_name(Host(), os.getpid())
