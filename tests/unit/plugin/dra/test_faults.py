"""Plugin processes that are killed at random leave nothing stuck, and never give a device out twice."""

import pytest

from tests.harness.claimfaults.__main__ import cause


# The kernel closes the connections and files of a killed process; nothing does so for the simulated processes here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", [1, 2])
async def test_faults_while_pods_get_and_release_claims(seed: int) -> None:
    """Records, CDI files and devices agree in the end, and each device was reset before its next pod."""
    result = await cause(40, seed)

    assert result.faults >= 40
    assert result.runs > 0
    assert result.broken == []
