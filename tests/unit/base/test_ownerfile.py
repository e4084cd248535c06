"""The file that names the hub that the kubelet calls: hubs change it one at a time, and notice others' changes."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.base import ownerfile
from hub.base.instances import now
from hub.base.ownerfile import Owner, OwnerFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file, which does not exist yet."""
    return tmp_path / "example.com_stub.owner"


async def register(file: OwnerFile) -> None:
    """Do what a process does when it registers."""
    async with file.locked():
        file.begin()
        file.complete()


async def test_it_names_the_hub_that_registered_last(path: Path) -> None:
    """The file also says when the registration was complete, so an interrupted one can be recognized."""
    older, newer = OwnerFile(path, "older"), OwnerFile(path, "a-newer-one")
    assert older.read() == Owner()
    before = now()
    await register(newer)
    await register(older)
    assert older.read().hub == "older"
    assert before < newer.read().since < now()
    async with newer.locked():
        newer.begin()
    assert older.read() == Owner("a-newer-one", 0)


async def test_one_task_of_a_process_at_a_time_holds_the_lock(path: Path) -> None:
    """The lock is free as soon as the last of them is done: a task that exits meanwhile does not keep it."""
    ours, other = OwnerFile(path, "ours"), OwnerFile(path, "other")
    order: list[str] = []

    async def hold(name: str) -> None:
        async with ours.locked():
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(hold("registration"), hold("exit"))
    assert order == ["registration begins", "registration ends", "exit begins", "exit ends"]
    with capture_logs() as logs:
        await register(other)
    assert logs == []


async def test_a_task_does_not_wait_for_ever_for_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubelet that does not answer a registration does not keep the process from exiting."""
    monkeypatch.setattr(ownerfile, "LOCK_TIMEOUT", 0.01)
    ours = OwnerFile(path, "ours")
    with capture_logs() as logs:
        async with ours.locked(), ours.locked():
            assert [line["event"] for line in logs] == ["owner file not locked"]
    await register(ours)
    assert ours.read().hub == "ours"


async def test_a_process_notices_a_registration_after_its_own(path: Path) -> None:
    """It notices even an interrupted one, but neither one before its start nor its own."""
    await register(OwnerFile(path, "long-gone"))
    ours, other = OwnerFile(path, "ours"), OwnerFile(path, "other")
    assert ours.replaced_by == ""
    await register(ours)
    assert ours.replaced_by == ""
    async with other.locked():
        other.begin()
    assert ours.replaced_by == "other"
    await register(ours)
    assert ours.replaced_by == ""
    assert other.replaced_by == "ours"


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("precious")], ids=["pipe", "link"])
async def test_what_is_in_the_place_of_the_file_is_replaced(path: Path, plant: Callable[[Path], object]) -> None:
    """If it were not, no hub could determine again which of them the kubelet calls."""
    (path.parent / "precious").write_text("kept")
    plant(path)
    file = OwnerFile(path, "ours")
    with capture_logs() as logs:
        await register(file)
    assert logs == []
    assert file.read().hub == "ours"
    assert (path.parent / "precious").read_text() == "kept"


async def test_one_process_at_a_time(path: Path) -> None:
    """The next one gets the lock as soon as it is free."""
    first, second = OwnerFile(path, "first"), OwnerFile(path, "second")
    async with first.locked():
        waiting = asyncio.create_task(register(second))
        await asyncio.sleep(0.05)
        first.begin()
        assert not waiting.done()
    await waiting
    assert first.read().hub == "second"


async def test_a_frozen_process_does_not_stop_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They continue without the lock, and notice when the frozen process resumes."""
    monkeypatch.setattr(ownerfile, "LOCK_TIMEOUT", 0.02)
    frozen, other = OwnerFile(path, "frozen"), OwnerFile(path, "other")
    with capture_logs() as log:
        async with frozen.locked():
            await register(other)
            assert other.read().hub == "other"
            frozen.complete()
    assert [line["event"] for line in log] == ["owner file not locked"]
    assert other.replaced_by == "frozen"


async def test_a_registration_right_after_our_own_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed even if it comes from a process without the lock, at the moment when ours is written."""
    ours = OwnerFile(path, "ours")
    write = os.pwrite

    def write_then_another(file: int, content: bytes, offset: int) -> int:
        written = write(file, content, offset)
        path.write_text(f"a-newer-one {now()}\n")
        return written

    async with ours.locked():
        monkeypatch.setattr(os, "pwrite", write_then_another)
        ours.complete()
    assert ours.replaced_by == "a-newer-one"


@pytest.fixture(params=["", "hub", "hub x\n", "hub 1 2\n", "hub \xb2\n", "Hub 1\n", f"hub {'1' * 5000}\n", "\xff"])
def strange(path: Path, request: pytest.FixtureRequest) -> Path:
    """Create a file that no hub has written."""
    path.write_bytes(request.param.encode("latin-1"))
    return path


async def test_what_no_hub_has_written_counts_as_nothing(strange: Path) -> None:
    """The next registration replaces it."""
    file = OwnerFile(strange, "hub")
    assert file.read() == Owner()
    await register(file)
    assert file.read().hub == "hub"


async def test_a_file_that_cannot_be_opened_stops_nothing(tmp_path: Path) -> None:
    """It is logged; the process does not register again and again because of it."""
    file = OwnerFile(tmp_path / "missing" / "x.owner", "hub")
    with capture_logs() as log:
        await register(file)
    assert [line["event"] for line in log] == ["owner file not locked"]
    assert file.replaced_by == ""


async def test_a_plugin_started_by_hand_shares_nothing() -> None:
    """It has no such file."""
    file = OwnerFile(None, "")
    await register(file)
    assert (file.read(), file.replaced_by) == (Owner(), "")
