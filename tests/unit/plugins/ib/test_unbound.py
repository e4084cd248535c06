"""Records of functions that a reset left without a driver."""

from pathlib import Path

import pytest

from plugins.ib.reset.unbound import UnboundRecord, records
from tests.harness.files import put

GOOD = "0000:07:00.2"


@pytest.mark.parametrize(
    "content", [b"x" * 10_000, "/dev/zero", "nowhere", None], ids=["long", "device", "dangling", "pipe"]
)
def test_an_odd_record_does_not_affect_others(tmp_path: Path, content: bytes | str | None) -> None:
    """The drivers of the other functions are bound again."""
    put(tmp_path / "0000:07:00.1", content)
    (tmp_path / GOOD).write_text("mlx5_core\nno answer")
    assert records(str(tmp_path)) == [UnboundRecord(GOOD, "mlx5_core", "no answer")]
