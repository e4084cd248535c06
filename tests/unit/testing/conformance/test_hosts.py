"""A plugin of which only the socket is known: the check connects to no other socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.testing.conformance.allocation import allocate_answers
from hub.testing.conformance.hosts import behind
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.robustness import survives_garbage
from hub.testing.conformance.rule import NotApplicable, Rule


@pytest.fixture
async def calls(directory: Path) -> AsyncIterator[list[object]]:
    """Count the connections to another plugin."""
    received: list[object] = []
    (directory / "other").mkdir()
    async with await asyncio.start_unix_server(lambda *_: received.append(1), directory / "other" / "model.sock"):
        yield received


@pytest.mark.parametrize("place", ["the socket", "the directory", "the directory above"])
def test_a_link_in_the_path_of_the_socket(directory: Path, place: str) -> None:
    """It is rejected, because another user may have put it there."""
    above = directory / "above"
    path = above / "plugins" / "model.sock"
    if place == "the socket":
        path.parent.mkdir(parents=True)
        path.symlink_to(directory / "other.sock")
    else:
        (directory / "other" / "plugins").mkdir(parents=True)
        if place == "the directory":
            above.mkdir()
            path.parent.symlink_to(directory / "other" / "plugins")
        else:
            above.symlink_to("other")
    with pytest.raises(ConfigError, match="link"), behind(path):
        pass


@pytest.mark.parametrize("rule", [allocate_answers, survives_garbage], ids=lambda rule: rule.name)
async def test_a_link_in_place_of_the_directory(directory: Path, calls: list[object], rule: Rule) -> None:
    """If it appears later, it is not followed."""
    path = directory / "plugins" / "model.sock"
    path.parent.mkdir()
    with behind(path, limits=Limits(answer=0.1, quick=0.1)) as subject:
        path.parent.rename(directory / "old")
        path.parent.symlink_to("other")
        with suppress(NotApplicable):
            async for _ in rule.check(subject):
                pass
    assert not calls


async def test_a_relative_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is valid, and may lead upwards."""
    (directory / "own").mkdir()
    monkeypatch.chdir(directory / "own")
    with behind(Path("../own/model.sock")) as subject:
        assert (await subject.socket()).parent.samefile(directory / "own")
