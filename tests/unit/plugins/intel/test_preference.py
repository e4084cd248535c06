"""Which shares of GPUs a container gets."""

import random
from collections import Counter

import pytest

from hub import Device
from plugins.intel.preference import prefer
from plugins.intel.settings import AllocationPolicy

NONE, BALANCED, PACKED = AllocationPolicy.NONE, AllocationPolicy.BALANCED, AllocationPolicy.PACKED


def _shares(**counts: int) -> list[Device]:
    """Create this many free shares of GPUs, the last ones of each, in any order."""
    shares = [
        Device(f"0000:{bus[1:]}:00.0::{9 - number}", physical=f"0000:{bus[1:]}:00.0")
        for bus, count in counts.items()
        for number in range(count)
    ]
    random.shuffle(shares)
    return shares


def _chosen(policy: AllocationPolicy, available: list[Device], size: int, *required: Device) -> dict[str, int]:
    """Return how many shares of each GPU are chosen, by its bus."""
    chosen = prefer(policy, available, required, size)
    assert len({device.id for device in chosen}) == len(chosen) == size
    assert {device.id for device in required} <= {device.id for device in chosen} <= {each.id for each in available}
    return dict(Counter(device.physical[5:7] for device in chosen))


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (NONE, {"03": 1, "04": 1, "05": 1, "0a": 1}),
        (BALANCED, {"03": 1, "04": 1, "05": 1, "0a": 1}),
        (PACKED, {"03": 4}),
    ],
)
def test_the_example_of_intels_plugin(policy: AllocationPolicy, chosen: dict[str, int]) -> None:
    """Four of twenty free shares of four GPUs are one of each, or all of the first."""
    assert _chosen(policy, _shares(b03=5, b04=5, b05=5, b0a=5), 4) == chosen


def test_too_few_gpus() -> None:
    """In this case, two shares are of the same GPU."""
    assert _chosen(NONE, _shares(b03=3, b04=1), 3) == {"03": 2, "04": 1}


def test_the_gpu_with_the_most_free_shares() -> None:
    """The `balanced` policy takes it first, but not twice while there is another one."""
    assert _chosen(BALANCED, _shares(b03=2, b04=5, b05=3), 1) == {"04": 1}
    assert _chosen(BALANCED, _shares(b03=2, b04=8, b05=3), 2) == {"04": 1, "05": 1}


def test_the_gpu_with_the_fewest_free_shares() -> None:
    """The `packed` policy fills it before starting on the next one."""
    assert _chosen(PACKED, _shares(b03=5, b04=2, b05=3), 1) == {"04": 1}
    assert _chosen(PACKED, _shares(b03=5, b04=2, b05=3), 4) == {"04": 2, "05": 2}


def test_numbers_are_compared_as_numbers() -> None:
    """The order is numeric: the tenth share does not precede the second one."""
    shares = [Device(f"0000:03:00.0::{number}", physical="0000:03:00.0") for number in (10, 2, 9)]
    assert [device.id for device in prefer(NONE, shares, [], 2)] == ["0000:03:00.0::2", "0000:03:00.0::9"]


def test_required_shares() -> None:
    """They are in the response, and count as taken: the others are spread or packed around them."""
    shares = _shares(b03=3, b04=3)
    required = next(device for device in shares if device.physical == "0000:04:00.0")
    assert _chosen(NONE, shares, 2, required) == {"03": 1, "04": 1}
    assert _chosen(PACKED, shares, 3, required) == {"04": 3}


def test_whole_gpus() -> None:
    """They are taken in address order; addresses are hexadecimal."""
    gpus = [Device(f"0000:{bus}:00.0") for bus in ("b7", "4d", "18")]
    for policy in AllocationPolicy:
        assert [device.id for device in prefer(policy, gpus, [], 2)] == ["0000:18:00.0", "0000:4d:00.0"]


@pytest.mark.parametrize(("required", "size"), [((), 3), (("x",), 1), (("0000:03:00.0",), 0)])
def test_an_inconsistent_request(required: tuple[str, ...], size: int) -> None:
    """It gets no response, so the kubelet chooses: an error would fail the pod."""
    gpus = [Device("0000:03:00.0"), Device("0000:04:00.0")]
    assert not prefer(BALANCED, gpus, [Device(name) for name in required], size)
