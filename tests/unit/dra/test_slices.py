"""The slices of a driver, as the API server lists them."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hub.apiserver.errors import GONE, ApiError
from hub.apiserver.http import MAX_BODY
from hub.base.changecount import ChangeCounter
from hub.dra.slices import MAX_PAGES, PAGE, Slices

ETCD_BYTES = 3 << 19
"""The size of the largest object in an API server."""


class _Pages:
    """An API server with this number of slices, which answers in pages as requested.

    Args:
        count: The number of slices.
        fails: The page that it no longer knows; 0 for none.
    """

    def __init__(self, count: int, fails: int = 0) -> None:
        self.sizes: list[int] = []
        self._items = [
            {"metadata": {"name": f"s{n}", "resourceVersion": "5"}, "spec": {"pool": {"generation": n}}}
            for n in range(count)
        ]
        self._fails = fails

    async def get(self, path: str, _kind: type[Any]) -> dict[str, Any]:
        """Return a page."""
        query = parse_qs(urlsplit(path).query)
        begin, limit = int(query.get("continue", ["0"])[0].partition("/")[0]), int(query["limit"][0])
        if self._fails and begin >= self._fails * limit:
            raise ApiError(GONE, "too old")
        items = self._items[begin : begin + limit]
        self.sizes.append(len(items))
        more = {"continue": f"{begin + limit}/&x"} if begin + limit < len(self._items) else {}
        return {"items": items, "metadata": {"resourceVersion": "7", **more}}


def _slices(server: _Pages) -> Slices:
    return Slices(server, "stub.dphub.dev", "node-1", ChangeCounter())  # type: ignore[arg-type] # all that it uses


@pytest.mark.parametrize("count", [0, 1, PAGE, 256])
async def test_all_slices_are_listed_in_pages(count: int) -> None:
    """The slices of the largest node would not fit in one response; a page fits, however large its slices are."""
    server = _Pages(count)
    slices = _slices(server)
    assert await slices.relist() == "7"
    assert len(slices.found or ()) == count
    assert sum(server.sizes) == count
    assert max(server.sizes) * ETCD_BYTES <= MAX_BODY


async def test_a_list_without_end() -> None:
    """An API server that always has another page is an error, and does not fill the memory."""
    server = _Pages(PAGE * (MAX_PAGES + 1))
    with pytest.raises(ApiError, match=f"more than {MAX_PAGES} pages"):
        await _slices(server).relist()
    assert len(server.sizes) == MAX_PAGES


async def test_a_list_that_ends_early_changes_nothing() -> None:
    """A part of the slices is never taken for all of them: the others would be written again."""
    slices = _slices(_Pages(3 * PAGE, fails=2))
    with pytest.raises(ApiError):
        await slices.relist()
    assert slices.found is None


@pytest.mark.parametrize(("version", "is_kept"), [("9", True), ("3", False), ("odd", False)])
async def test_an_event_between_two_pages_counts(version: str, *, is_kept: bool) -> None:
    """A list is as old as its first page."""
    slices = _slices(_Pages(2 * PAGE))
    slices.found = {}
    event = {"metadata": {"name": "s0", "resourceVersion": version}, "spec": {"pool": {"generation": 99}}}
    slices.learn(event)
    await slices.relist()
    assert slices.found is not None
    assert (slices.found["s0"] == event) is is_kept
