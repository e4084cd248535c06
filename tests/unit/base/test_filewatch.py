"""A process notices when another one has closed a file, even when that one was killed."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from hub.base.errors import HubError
from hub.base.filewatch import closed_files
from hub.base.locks import existing_lock, is_locked, open_lock, try_lock
from hub.testing.waiting import WAIT_SECONDS


async def test_the_end_of_a_lock_is_noticed(tmp_path: Path) -> None:
    """It is noticed at the second check at the latest: the kernel reports it a moment before it releases the lock."""
    path = tmp_path / "lock"
    file = open_lock(path)
    assert try_lock(file)
    async with asyncio.timeout(WAIT_SECONDS), aclosing(closed_files(tmp_path)) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        os.close(file)
        await waiting
        with existing_lock(path) as again:
            if is_locked(again):
                await anext(changes)
            assert not is_locked(again)


async def test_checking_a_lock_is_not_a_change(tmp_path: Path) -> None:
    """If a check counted as a change, each check would lead to the next."""
    path = tmp_path / "lock"
    os.close(open_lock(path))
    async with aclosing(closed_files(tmp_path)) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        with existing_lock(path) as file:
            assert not is_locked(file)
        assert not (await asyncio.wait([waiting], timeout=0.1))[0]
        path.write_text("changed")
        await asyncio.wait_for(waiting, WAIT_SECONDS)


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error gives its path."""
    with pytest.raises(HubError, match=r"cannot watch the directory .*missing \(No such file"):
        await anext(closed_files(tmp_path / "missing"))
