"""The fake kubelet behaves like real ones, whatever plugins do and whenever kubelets stop."""

import asyncio

import pytest

from tests.differential.comparison import compare
from tests.harness.kubeletbuild import VERSIONS, binary

SEEDS = range(1, 9)


@pytest.mark.parametrize("seed", SEEDS)
async def test_fake_and_real_do_the_same(seed: int, pytestconfig: pytest.Config) -> None:
    """After each step of a random script, numbers, devices, pods, refusals and calls are equal."""
    chosen = pytestconfig.getoption("--kubelet")
    version = next((each for each in reversed(VERSIONS) if chosen in ("fake", each) and binary(each).exists()), None)
    if version is None:
        pytest.skip("no real kubelet is built: run `make test-kubelet`")
    async with asyncio.timeout(250):
        difference = await compare(seed, version)
    assert difference is None, difference
