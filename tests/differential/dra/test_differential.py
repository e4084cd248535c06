"""The DRA side of the fake kubelet behaves like real ones, whatever drivers do and whenever kubelets stop."""

import asyncio

import pytest

from tests.differential.dra.comparison import compare
from tests.harness.drabuild import VERSIONS, binary

SEEDS = range(1, 5)


@pytest.mark.parametrize("seed", SEEDS)
async def test_fake_and_real_do_the_same(seed: int, pytestconfig: pytest.Config) -> None:
    """After each step of a random script, calls, claims, instances and errors are equal."""
    chosen = pytestconfig.getoption("--kubelet")
    version = next((each for each in reversed(VERSIONS) if chosen in ("fake", each) and binary(each).exists()), None)
    if version is None:
        pytest.skip("no real DRA manager is built: run `make test-kubelet`")
    async with asyncio.timeout(250):
        difference = await compare(seed, version)
    assert difference is None, difference
